// SPDX-License-Identifier: Apache-2.0
// Follows StreamStatus across lost connections: each event once and in order, by cursor.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/net/connection.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

struct WatchOptions {
  // jobs/{id}, or jobs/- for all.
  std::string parent;
  // A cursor or "begin"; empty: a snapshot, then the events after it.
  std::string after;
  // Only jobs that match; with jobs/- only.
  std::string label_selector;
  // Names of Event.body fields; empty: all.
  std::vector<std::string> event_types;
  // Return when the job has ended.
  bool until_terminal = false;
  // Retry also if the daemon refuses the first stream because of max_watchers: for a command that
  // has already shown a part.
  bool retry_refused = false;
  // Without any message for this long, the connection counts as lost. The daemon sends a heartbeat
  // every 10 s.
  absl::Duration silence = absl::Seconds(45);
};

// Receives what the watch reads. All calls come from the thread that called Watch.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void OnSnapshot(const v1::Job& job) {}
  virtual void OnSnapshotComplete() {}
  // The events of one response; the cursor moves past them after this returns.
  virtual void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) = 0;
  virtual void OnConnectionLost(const absl::Status& why) = 0;
  virtual void OnConnectionBack() = 0;
  // The daemon deleted the events after the cursor: a new snapshot follows.
  virtual void OnCursorExpired() = 0;
  // The last call.
  virtual void OnEnd() {}
  // At least ten times per second. False: stop watching.
  virtual bool OnTick() = 0;
};

struct WatchEnd {
  enum class Kind { kEnded, kLeft, kError };
  Kind kind = Kind::kEnded;
  // For kError: the answer of the daemon.
  absl::Status error;
  // Where a later watch continues; empty = from now.
  std::string cursor;
};

// Returns when the job has ended (until_terminal), the sink stops, or the daemon refuses. Retries a
// lost connection without limit. Replaces an expired cursor by a new snapshot.
WatchEnd Watch(Connection& connection, const WatchOptions& options, WatchSink* sink);

}  // namespace trainerd::client
