// SPDX-License-Identifier: Apache-2.0
// The thread that receives requested actions: frames of the shim's control socket, and SIGINT and
// SIGTERM.
#pragma once

#include <atomic>
#include <thread>

#include "engine/core/run_control.h"
#include "proto/base/fd.h"

namespace trainerd::engine {

// Blocks SIGINT and SIGTERM in the calling thread, so that all threads that it starts block them
// too and only the listener takes them. Call it before there are other threads. Ignores SIGPIPE and
// SIGXFSZ: a write that fails is an error of that write.
void PrepareSignals();

class ControlListener {
 public:
  enum class OnSignal {
    kLeave,  // of an attempt: checkpoint and leave, as a preemption
    kStop,   // by hand: the first signal stops gracefully, the second discards
  };
  struct Options {
    int control_fd = -1;  // frames of WorkerCommand; end of file = checkpoint and leave. -1 = none
    OnSignal on_signal = OnSignal::kLeave;
  };
  // `control` must outlive it.
  ControlListener(RunControl& control, const Options& options);
  ~ControlListener();
  ControlListener(const ControlListener&) = delete;
  ControlListener& operator=(const ControlListener&) = delete;

  // A signal or the end of the control socket ends the attempt, and no command does.
  bool preempted() const { return leave_.load() && !commanded_.load(); }

 private:
  void Run();
  void ReadCommand();
  void ReadSignal();

  RunControl& control_;
  const OnSignal on_signal_;
  int control_fd_;  // -1 once it has ended; used by the thread only
  Fd signal_fd_;
  Fd stop_fd_;
  int signals_ = 0;  // used by the thread only
  std::atomic<bool> leave_{false};
  std::atomic<bool> commanded_{false};
  std::thread thread_;
};

}  // namespace trainerd::engine
