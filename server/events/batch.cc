// SPDX-License-Identifier: Apache-2.0
#include "server/events/batch.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

constexpr int kReadRecentEvents = 1024;
// As many events as a batch holds: what does not fit would be read from the database again.
constexpr int kReadOldEvents = kMaxBatchEvents;
// Limit of one scan for events of a rare type. Then other watchers get their turn.
constexpr int kMaxReads = 256;

// One element of StreamStatusResponse.events: tag, length, bytes.
void AppendEvent(const std::string& event, std::string* out) {
  using google::protobuf::internal::WireFormatLite;
  uint8_t head[16];
  uint8_t* end = google::protobuf::io::CodedOutputStream::WriteVarint32ToArray(
      WireFormatLite::MakeTag(v1::StreamStatusResponse::kEventsFieldNumber,
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED),
      head);
  end = google::protobuf::io::CodedOutputStream::WriteVarint32ToArray(
      static_cast<uint32_t>(event.size()), end);
  out->append(reinterpret_cast<char*>(head), static_cast<size_t>(end - head));
  out->append(event);
}

// Adds the change in [begin, end) to the scan. False: the change does not fit.
bool AddChange(const WatchFilter& filter, const JobLabels& labels, const EventPtr* begin,
               const EventPtr* end, int64_t* bytes, Scan* scan) {
  int64_t change_bytes = 0;
  std::vector<EventPtr> matched, job_flags;
  for (const EventPtr* it = begin; it != end; ++it) {
    const JobLabels::Match match = filter.MatchesJob(labels, **it);
    scan->needs_labels |= match == JobLabels::Match::kUnknown;
    if (match != JobLabels::Match::kYes) continue;
    if ((*it)->flags != 0) job_flags.push_back(*it);
    if (!filter.MatchesType(**it)) continue;
    matched.push_back(*it);
    change_bytes += static_cast<int64_t>((*it)->bytes->size());
  }
  if (scan->needs_labels) return false;
  const size_t have = scan->events.size();
  const bool fits =
      have + matched.size() <= kMaxBatchEvents && *bytes + change_bytes <= kMaxBatchBytes;
  if (have > 0 && !matched.empty() && !fits) return false;
  std::move(matched.begin(), matched.end(), std::back_inserter(scan->events));
  std::move(job_flags.begin(), job_flags.end(), std::back_inserter(scan->job_flags));
  *bytes += change_bytes;
  scan->through = (*(end - 1))->seq;
  return true;
}

// Adds whole changes of the slice to the scan. True: the batch is still empty and the log may have
// more.
bool AddSlice(const WatchFilter& filter, const JobLabels& labels, const EventSlice& slice,
              int64_t* bytes, Scan* scan) {
  const std::vector<EventPtr>& events = slice.events;
  for (size_t begin = 0; begin < events.size();) {
    size_t end = begin + 1;
    while (end < events.size() && events[end]->change == events[begin]->change) ++end;
    if (!AddChange(filter, labels, &events[begin], events.data() + end, bytes, scan)) return false;
    begin = end;
  }
  const bool moved = slice.through > scan->through || !events.empty();
  scan->through = slice.through;
  return moved && scan->events.empty();
}

// Reads what AddSlice will need.
absl::Status LoadLabels(const WatchFilter& filter, const EventSlice& slice, JobLabels* labels) {
  if (filter.selector == nullptr) return absl::OkStatus();
  std::set<std::string> jobs;
  for (const EventPtr& event : slice.events) {
    if (filter.MatchesJob(*labels, *event) == JobLabels::Match::kUnknown) jobs.insert(event->job);
  }
  return labels->Load({jobs.begin(), jobs.end()});
}

}  // namespace

std::optional<Scan> ScanRecent(const EventLog& log, const WatchFilter& filter, int64_t after) {
  Scan scan{.through = after};
  int64_t bytes = 0;
  for (int read = 0; read < kMaxReads; ++read) {
    std::optional<EventSlice> slice = log.ReadRecent(scan.through, kReadRecentEvents);
    if (!slice.has_value() && read == 0) return std::nullopt;
    if (!slice.has_value() || !AddSlice(filter, log.labels(), *slice, &bytes, &scan)) break;
  }
  if (scan.needs_labels && scan.through == after) return std::nullopt;
  return scan;
}

absl::StatusOr<Scan> ScanLog(const EventLog& log, const WatchFilter& filter, int64_t after) {
  Scan scan{.through = after};
  int64_t bytes = 0;
  for (int read = 0; read < kMaxReads; ++read) {
    ASSIGN_OR_RETURN(const EventSlice slice, log.Read(filter.job, scan.through, kReadOldEvents));
    RETURN_IF_ERROR(LoadLabels(filter, slice, &log.labels()));
    if (!AddSlice(filter, log.labels(), slice, &bytes, &scan)) break;
  }
  return scan;
}

Bytes MakeBatch(const std::vector<EventPtr>& events, const std::string& cursor,
                int64_t lag_events) {
  v1::StreamStatusResponse rest;
  rest.set_cursor(cursor);
  // A cursor of the database can be ahead of the log, which gets a transaction after its commit.
  rest.set_lag_events(std::max<int64_t>(0, lag_events));
  auto out = std::make_shared<std::string>();
  size_t size = rest.ByteSizeLong();
  for (const EventPtr& event : events) size += event->bytes->size() + 8;
  out->reserve(size);
  for (const EventPtr& event : events) AppendEvent(*event->bytes, out.get());
  rest.AppendToString(out.get());
  return out;
}

}  // namespace trainerd::server
