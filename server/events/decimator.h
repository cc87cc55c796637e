// SPDX-License-Identifier: Apache-2.0
// Merges the metrics of a watcher that wants fewer of them, or that cannot keep up: values of the
// last step, sums of tokens, `merged` = how many steps stand in one event. Every other event goes
// through at once, after the metrics that came before it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/events/event_log.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

class Decimator {
 public:
  // Holds metrics back for at most `interval`.
  explicit Decimator(absl::Duration interval) : interval_(interval) {}

  // Takes the next event of the log; what is to be sent now is appended to `out`.
  void Add(const EventPtr& event, absl::Time now, std::vector<EventPtr>* out);
  // Sends what is held when its time has come. Then nothing is held: a cursor after that is exact.
  void FlushIfDue(absl::Time now, std::vector<EventPtr>* out);
  void Flush(absl::Time now, std::vector<EventPtr>* out);

  bool holds_back() const { return !held_.empty(); }
  // When FlushIfDue will send something; InfiniteFuture when nothing is held.
  absl::Time due() const;

 private:
  struct Held {
    EventPtr first;  // as it came; sent unchanged when nothing was merged into it
    v1::Event merged;
    bool parsed = false;
  };
  static void Merge(v1::Event next, v1::Event* held);

  const absl::Duration interval_;
  absl::Time last_flush_ = absl::InfinitePast();
  std::map<std::string, Held> held_;  // by job
};

}  // namespace trainerd::server
