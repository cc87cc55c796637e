// SPDX-License-Identifier: Apache-2.0
#include "server/events/watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "server/events/cursor.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

// A watcher that had caught up and then fell this far behind gets its metrics merged. Reading
// history from an old cursor does not.
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
  absl::StatusOr<Bytes> message = TakePreamble();
  if (message.ok() && *message == nullptr) message = TakeBatch(log, cache, now);
  if (!message.ok()) {
    next.finish = message.status();
    return next;
  }
  if (*message == nullptr && AllEnded()) {
    next.finish = absl::OkStatus();
    return next;
  }
  if (*message == nullptr && job_deleted_) {
    next.finish = ErrorWithReason(absl::StatusCode::kNotFound, "JOB_DELETED",
                                  absl::StrCat(options_.filter.job, " was deleted"));
    return next;
  }
  if (*message == nullptr && now >= options_.deadline) {
    next.finish = absl::DeadlineExceededError("the time that was asked for is over");
    return next;
  }
  if (*message == nullptr && now >= last_message_ + options_.bookmark_interval) {
    message = MakeBatch({}, Cursor(sent_position_), log.last_seq() - sent_position_);
  }
  if (*message != nullptr) last_message_ = now;
  next.message = *message;
  next.wake = std::min(options_.deadline, last_message_ + options_.bookmark_interval);
  if (decimator_.has_value()) next.wake = std::min(next.wake, decimator_->due());
  // Nothing matched in a long stretch of the log: others get their turn, then this goes on.
  if (*message == nullptr && position_ < log.last_seq()) next.wake = now;
  return next;
}

absl::StatusOr<Bytes> Watch::TakePreamble() {
  if (options_.preamble == nullptr) return Bytes();
  ASSIGN_OR_RETURN(std::optional<std::string> message, options_.preamble());
  if (message.has_value()) return std::make_shared<const std::string>(*std::move(message));
  options_.preamble = nullptr;
  return Bytes();
}

absl::StatusOr<Bytes> Watch::TakeBatch(const EventLog& log, BatchCache* cache, absl::Time now) {
  const int64_t lag = log.last_seq() - position_;
  if (lag <= 0) was_at_head_ = true;
  if (was_at_head_ && lag > kSlowLag && !decimator_.has_value()) {
    decimator_.emplace(absl::ZeroDuration());
  }
  if (!decimator_.has_value()) {
    if (lag <= 0) return Bytes();
    ASSIGN_OR_RETURN(std::shared_ptr<const BatchCache::Entry> entry, ScanShared(log, cache));
    Count(entry->scan);
    position_ = sent_position_ = entry->scan.through;
    return entry->bytes;
  }
  Scan scan;
  scan.through = position_;
  if (lag > 0) {
    ASSIGN_OR_RETURN(scan, ScanLog(log, options_.filter, position_));
    Count(scan);
  }
  return Decimate(log, scan, now);
}

absl::StatusOr<std::shared_ptr<const BatchCache::Entry>> Watch::ScanShared(
    const EventLog& log, BatchCache* cache) const {
  const BatchCache::Key key{position_, {options_.filter.job, options_.filter.types}};
  auto it = cache->entries.find(key);
  if (it != cache->entries.end()) return it->second;
  auto entry = std::make_shared<BatchCache::Entry>();
  ASSIGN_OR_RETURN(entry->scan, ScanLog(log, options_.filter, position_));
  if (!entry->scan.events.empty()) {
    entry->bytes = MakeBatch(entry->scan.events, Cursor(entry->scan.through),
                             log.last_seq() - entry->scan.through);
  }
  cache->entries.emplace(key, entry);
  return std::shared_ptr<const BatchCache::Entry>(entry);
}

Bytes Watch::Decimate(const EventLog& log, const Scan& scan, absl::Time now) {
  std::vector<EventPtr> out;
  for (const EventPtr& event : scan.events) decimator_->Add(event, now, &out);
  // What was sent ends with nothing held back, so that the cursor that goes with it is exact.
  if (out.empty()) {
    decimator_->FlushIfDue(now, &out);
  } else {
    decimator_->Flush(now, &out);
  }
  // The stream ends, or the slow watcher caught up: nothing may stay behind.
  const bool at_head = scan.through >= log.last_seq();
  if (AllEnded()) decimator_->Flush(now, &out);
  position_ = scan.through;
  if (!decimator_->holds_back()) sent_position_ = position_;
  if (at_head && options_.min_metrics_interval <= absl::ZeroDuration()) {
    decimator_.reset();
    sent_position_ = position_;
  }
  if (out.empty()) return nullptr;
  return MakeBatch(out, Cursor(sent_position_), log.last_seq() - sent_position_);
}

void Watch::Count(const Scan& scan) {
  for (const EventPtr& event : scan.job_flags) {
    if (event->flags & kJobDeleted) {
      options_.open_jobs.erase(event->job);
      job_deleted_ = !options_.filter.job.empty();
    }
    if (event->seq <= options_.counted_seq) continue;
    if (event->flags & kJobCreated) options_.open_jobs.insert(event->job);
    if (event->flags & kJobEnded) options_.open_jobs.erase(event->job);
  }
}

bool Watch::AllEnded() const {
  return options_.until_terminal && options_.open_jobs.empty() && position_ >= options_.counted_seq;
}

}  // namespace trainerd::server
