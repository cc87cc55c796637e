// SPDX-License-Identifier: Apache-2.0
// Where the events of `watch` go, by output form and kind of output.
#pragma once

#include <memory>
#include <string>

#include "client/commands/common/context.h"
#include "client/commands/common/interrupt.h"
#include "client/net/status_watch.h"

namespace trainerd::client {

class JobWatchSink : public WatchSink {
 public:
  // Whether a line about the job's failure, with its error, was printed.
  virtual bool printed_failure() const = 0;
  // The watched job with its state as of the newest event. nullptr before the snapshot, and if all
  // jobs are watched.
  virtual const v1::Job* job() const = 0;
};

// Table form on a terminal: the live view. Table form elsewhere, and wide: a line an event. jsonl:
// a document an event. json and yaml: nothing, for the one document is the job at its end. The
// arguments must outlive the sink.
std::unique_ptr<JobWatchSink> MakeWatchSink(const Context& context, Connection& connection,
                                            const std::string& parent,
                                            const InterruptScope& interrupt);

}  // namespace trainerd::client
