// SPDX-License-Identifier: Apache-2.0
// Follows StreamStatus over any number of lost connections: every event once and in order, by
// cursor.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/net/connection.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

struct WatchOptions {
  std::string parent;  // jobs/{id}, or jobs/- for all
  std::string after;   // a cursor or "begin"; empty: a snapshot first, then what follows
  std::vector<std::string> event_types;  // names of Event.body fields; empty: all
  bool until_terminal = false;           // end when the job has ended
  // How long silence may last (the daemon sends a heartbeat every 10 s) before the connection
  // counts as lost.
  absl::Duration silence = absl::Seconds(45);
};

// What a watch tells. No call is made from another thread.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void OnSnapshot(const v1::Job& job) {}
  virtual void OnSnapshotComplete() {}
  // The events of one response; the cursor moves past them after this returns.
  virtual void OnEvents(const google::protobuf::RepeatedPtrField<v1::Event>& events) = 0;
  virtual void OnConnectionLost(const absl::Status& why) = 0;
  virtual void OnConnectionBack() = 0;
  // The daemon no longer has what follows the cursor: a new snapshot follows.
  virtual void OnCursorExpired() = 0;
  // The watch is over; nothing follows.
  virtual void OnEnd() {}
  // At least ten times a second. False: leave.
  virtual bool OnTick() = 0;
};

struct WatchEnd {
  enum class Kind { kEnded, kLeft, kError };
  Kind kind = Kind::kEnded;
  absl::Status error;  // for kError: what the daemon refused
  std::string cursor;  // where a later watch continues; empty = from now
};

// Returns when the job has ended (until_terminal), the sink wants to leave, or the daemon refuses.
// A lost connection is retried for as long as it takes; an expired cursor is replaced by a new
// snapshot, except the one of `options.after`.
WatchEnd Watch(Connection& connection, const WatchOptions& options, WatchSink* sink);

}  // namespace trainerd::client
