// SPDX-License-Identifier: Apache-2.0
#include "server/events/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "server/events/cursor.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

// A watcher that was live and then fell this far behind gets merged metrics. A watcher that started
// from an old cursor does not.
constexpr int64_t kSlowLag = 8192;

}  // namespace

Watch::Watch(WatchOptions options, std::string database_id, absl::Time now)
    : options_(std::move(options)),
      database_id_(std::move(database_id)),
      position_(options_.start_seq),
      sent_position_(options_.start_seq),
      last_message_(now) {
  if (options_.min_metrics_interval > absl::ZeroDuration()) {
    decimator_.emplace(options_.min_metrics_interval);
  }
}

std::string Watch::Cursor(int64_t seq) const { return FormatCursor(database_id_, seq); }

Watch::Next Watch::Advance(const EventLog& log, BatchCache* cache, absl::Time now) {
  Next next;
  absl::StatusOr<Bytes> message = std::exchange(options_.first_message, nullptr);
  if (*message == nullptr && prepared_.has_value()) {
    message = *std::exchange(prepared_, std::nullopt);
  } else if (*message == nullptr) {
    std::optional<Bytes> recent;
    if (options_.snapshot == nullptr) recent = TakeRecent(log, cache, now);
    if (!recent.has_value()) {
      next.read_history = true;
      return next;
    }
    message = *std::move(recent);
  }
  if (!message.ok()) {
    next.finish = message.status();
    return next;
  }
  if (*message == nullptr) {
    next.finish = EndOf(now);
    if (next.finish.has_value()) return next;
    if (now >= last_message_ + options_.bookmark_interval) {
      message = MakeBatch({}, Cursor(sent_position_), log.last_seq() - sent_position_);
    }
  }
  if (*message != nullptr) last_message_ = now;
  next.message = *message;
  next.wake = std::min(options_.deadline, last_message_ + options_.bookmark_interval);
  if (decimator_.has_value()) next.wake = std::min(next.wake, decimator_->due());
  // Nothing matched in a long part of the log. Other watchers get their turn, then this continues.
  if (*message == nullptr && position_ < log.last_seq()) next.wake = now;
  return next;
}

std::optional<absl::Status> Watch::EndOf(absl::Time now) const {
  if (AllEnded()) return absl::OkStatus();
  if (job_deleted_) {
    return ErrorWithReason(absl::StatusCode::kNotFound, "JOB_DELETED",
                           absl::StrCat(options_.filter.job, " was deleted"));
  }
  if (now >= options_.deadline) return absl::DeadlineExceededError("the requested time has passed");
  return std::nullopt;
}

void Watch::ReadHistory(const EventLog& log, absl::Time now) {
  absl::StatusOr<Bytes> message = TakeSnapshot();
  if (message.ok() && *message == nullptr) message = TakeHistory(log, now);
  prepared_ = std::move(message);
}

absl::StatusOr<Bytes> Watch::TakeSnapshot() {
  if (options_.snapshot == nullptr) return Bytes();
  ASSIGN_OR_RETURN(std::optional<std::string> message, options_.snapshot());
  if (message.has_value()) return std::make_shared<const std::string>(*std::move(message));
  options_.snapshot = nullptr;
  return Bytes();
}

std::optional<Bytes> Watch::TakeRecent(const EventLog& log, BatchCache* cache, absl::Time now) {
  MergeIfSlow(log);
  if (log.last_seq() <= position_) {
    return decimator_.has_value() ? Decimate(log, {.through = position_}, now) : Bytes();
  }
  if (decimator_.has_value()) {
    const std::optional<Scan> scan = ScanRecent(log, options_.filter, position_);
    if (!scan.has_value()) return std::nullopt;
    Count(log, *scan);
    return Decimate(log, *scan, now);
  }
  const std::shared_ptr<const BatchCache::Entry> entry = ScanShared(log, cache);
  if (entry == nullptr) return std::nullopt;
  Count(log, entry->scan);
  position_ = sent_position_ = entry->scan.through;
  return entry->bytes;
}

absl::StatusOr<Bytes> Watch::TakeHistory(const EventLog& log, absl::Time now) {
  MergeIfSlow(log);
  ASSIGN_OR_RETURN(const Scan scan, ScanLog(log, options_.filter, position_));
  Count(log, scan);
  if (decimator_.has_value()) return Decimate(log, scan, now);
  position_ = sent_position_ = scan.through;
  if (scan.events.empty()) return Bytes();
  return MakeBatch(scan.events, Cursor(scan.through), log.last_seq() - scan.through);
}

void Watch::MergeIfSlow(const EventLog& log) {
  const int64_t lag = log.last_seq() - position_;
  if (lag <= 0) was_at_head_ = true;
  if (was_at_head_ && lag > kSlowLag && !decimator_.has_value()) {
    decimator_.emplace(absl::ZeroDuration());
  }
}

std::shared_ptr<const BatchCache::Entry> Watch::ScanShared(const EventLog& log,
                                                           BatchCache* cache) const {
  const WatchFilter& filter = options_.filter;
  const BatchCache::Key key{position_, filter.job, filter.types, filter.selector_text};
  auto it = cache->entries.find(key);
  if (it != cache->entries.end()) return it->second;
  std::optional<Scan> scan = ScanRecent(log, options_.filter, position_);
  if (!scan.has_value()) return nullptr;
  auto entry = std::make_shared<BatchCache::Entry>();
  entry->scan = *std::move(scan);
  if (!entry->scan.events.empty()) {
    entry->bytes = MakeBatch(entry->scan.events, Cursor(entry->scan.through),
                             log.last_seq() - entry->scan.through);
  }
  cache->entries.emplace(key, entry);
  return entry;
}

Bytes Watch::Decimate(const EventLog& log, const Scan& scan, absl::Time now) {
  std::vector<EventPtr> out;
  for (const EventPtr& event : scan.events) decimator_->Add(event, now, &out);
  // A message holds nothing back, so that its cursor is exact.
  if (out.empty()) {
    decimator_->FlushIfDue(now, &out);
  } else {
    decimator_->Flush(now, &out);
  }
  position_ = scan.through;
  const bool at_head = position_ >= log.last_seq();
  // The stream ends.
  if (AllEnded()) decimator_->Flush(now, &out);
  if (!decimator_->holds_back()) sent_position_ = position_;
  // The slow watcher has caught up.
  if (at_head && options_.min_metrics_interval <= absl::ZeroDuration()) {
    decimator_.reset();
    sent_position_ = position_;
  }
  if (out.empty()) return nullptr;
  return MakeBatch(out, Cursor(sent_position_), log.last_seq() - sent_position_);
}

void Watch::CountRelabelled(const EventLog& log, const EventRecord& event) {
  if (options_.filter.selector == nullptr) return;
  const bool matches =
      log.labels().MatchesAfter(*options_.filter.selector, event) == JobLabels::Match::kYes;
  if (!matches) options_.open_jobs.erase(event.job);
  if (matches && (event.flags & kJobOpen) != 0) options_.open_jobs.insert(event.job);
}

void Watch::Count(const EventLog& log, const Scan& scan) {
  for (const EventPtr& event : scan.job_flags) {
    if (event->flags & kJobDeleted) {
      options_.open_jobs.erase(event->job);
      job_deleted_ = !options_.filter.job.empty();
    }
    if (event->seq <= options_.counted_seq) continue;
    if (event->flags & kJobCreated) options_.open_jobs.insert(event->job);
    if (event->flags & kJobEnded) options_.open_jobs.erase(event->job);
    if (event->flags & kLabelsChanged) CountRelabelled(log, *event);
  }
}

bool Watch::AllEnded() const {
  return options_.until_terminal && options_.open_jobs.empty() && position_ >= options_.counted_seq;
}

}  // namespace trainerd::server
