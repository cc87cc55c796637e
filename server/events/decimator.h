// SPDX-License-Identifier: Apache-2.0
// Merges the metrics of a watcher that requested fewer of them, or that cannot keep up: values of
// the last step, sums of tokens, `merged` = number of merged steps. All other events pass at once,
// after the metrics that came before them.
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

  // Adds the next event of the log. Appends the events to send now to `out`.
  void Add(const EventPtr& event, absl::Time now, std::vector<EventPtr>* out);
  // Appends the held metrics to `out` if the interval has passed. Then nothing is held, and a
  // cursor is exact.
  void FlushIfDue(absl::Time now, std::vector<EventPtr>* out);
  void Flush(absl::Time now, std::vector<EventPtr>* out);

  bool holds_back() const { return !held_.empty(); }
  // When FlushIfDue flushes; InfiniteFuture when nothing is held.
  absl::Time due() const;

 private:
  struct Held {
    // Sent unchanged when nothing was merged into it.
    EventPtr first;
    v1::Event merged;
    bool parsed = false;
  };
  static void Merge(v1::Event next, v1::Event* held);

  const absl::Duration interval_;
  absl::Time last_flush_ = absl::InfinitePast();
  // By job.
  std::map<std::string, Held> held_;
};

}  // namespace trainerd::server
