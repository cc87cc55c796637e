// SPDX-License-Identifier: Apache-2.0
#include "server/events/batch.h"

#include <algorithm>

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
bool AddChange(const WatchFilter& filter, const EventPtr* begin, const EventPtr* end,
               int64_t* bytes, Scan* scan) {
  int64_t change_bytes = 0;
  int matched = 0;
  for (const EventPtr* it = begin; it != end; ++it) {
    if (!filter.Matches(**it)) continue;
    ++matched;
    change_bytes += static_cast<int64_t>((*it)->bytes->size());
  }
  const int have = static_cast<int>(scan->events.size());
  const bool fits = have + matched <= kMaxBatchEvents && *bytes + change_bytes <= kMaxBatchBytes;
  if (have > 0 && matched > 0 && !fits) return false;
  for (const EventPtr* it = begin; it != end; ++it) {
    if (filter.Matches(**it)) scan->events.push_back(*it);
    if ((*it)->flags != 0 && (filter.job.empty() || filter.job == (*it)->job)) {
      scan->job_flags.push_back(*it);
    }
  }
  *bytes += change_bytes;
  scan->through = (*(end - 1))->seq;
  return true;
}

// Adds whole changes of the slice to the scan. True: the batch is still empty and the log may have
// more.
bool AddSlice(const WatchFilter& filter, const EventSlice& slice, int64_t* bytes, Scan* scan) {
  const std::vector<EventPtr>& events = slice.events;
  for (size_t begin = 0; begin < events.size();) {
    size_t end = begin + 1;
    while (end < events.size() && events[end]->change == events[begin]->change) ++end;
    if (!AddChange(filter, &events[begin], events.data() + end, bytes, scan)) return false;
    begin = end;
  }
  const bool moved = slice.through > scan->through || !events.empty();
  scan->through = slice.through;
  return moved && scan->events.empty();
}

}  // namespace

std::optional<Scan> ScanRecent(const EventLog& log, const WatchFilter& filter, int64_t after) {
  Scan scan{.through = after};
  int64_t bytes = 0;
  for (int read = 0; read < kMaxReads; ++read) {
    std::optional<EventSlice> slice = log.ReadRecent(scan.through, kReadRecentEvents);
    if (!slice.has_value() && read == 0) return std::nullopt;
    if (!slice.has_value() || !AddSlice(filter, *slice, &bytes, &scan)) break;
  }
  return scan;
}

absl::StatusOr<Scan> ScanLog(const EventLog& log, const WatchFilter& filter, int64_t after) {
  Scan scan{.through = after};
  int64_t bytes = 0;
  for (int read = 0; read < kMaxReads; ++read) {
    ASSIGN_OR_RETURN(const EventSlice slice, log.Read(filter.job, scan.through, kReadOldEvents));
    if (!AddSlice(filter, slice, &bytes, &scan)) break;
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
