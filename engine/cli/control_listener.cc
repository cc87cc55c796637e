// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/control_listener.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/framing.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::engine {
namespace {

// A frame that has begun must arrive: the shim writes each in one piece.
constexpr int kFrameTimeoutMs = 5000;

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

void PrepareSignals() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  const sigset_t signals = HandledSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

ControlListener::ControlListener(RunControl& control, const Options& options)
    : control_(control), on_signal_(options.on_signal), control_fd_(options.control_fd) {
  const sigset_t signals = HandledSignals();
  signal_fd_ = Fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  stop_fd_ = Fd(::eventfd(0, EFD_CLOEXEC));
  TRAINERD_CHECK(signal_fd_.is_open() && stop_fd_.is_open());
  thread_ = std::thread([this] { Run(); });
}

ControlListener::~ControlListener() {
  const uint64_t one = 1;
  while (::write(stop_fd_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
}

void ControlListener::Run() {
  while (true) {
    // poll skips negative descriptors.
    pollfd fds[] = {
        {stop_fd_.get(), POLLIN, 0}, {signal_fd_.get(), POLLIN, 0}, {control_fd_, POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) ReadSignal();
    if (fds[2].revents != 0) ReadCommand();
  }
}

void ControlListener::ReadCommand() {
  const absl::StatusOr<std::optional<std::string>> frame =
      ReadSocketFrame(control_fd_, kFrameTimeoutMs);
  internal::WorkerCommand command;
  if (!frame.ok() || !frame->has_value() || !command.ParseFromString(**frame)) {
    // The control socket closed or carried an invalid frame. Checkpoint and exit: a worker without
    // a shim must not keep training.
    control_fd_ = -1;
    leave_.store(true);
    control_.RequestStop(StopMode::kPause);
    return;
  }
  switch (command.action()) {
    case internal::CHECKPOINT:
      control_.RequestCheckpoint();
      return;
    case internal::PAUSE:
      commanded_.store(true);
      control_.RequestStop(StopMode::kPause);
      return;
    case internal::STOP:
      commanded_.store(true);
      control_.RequestStop(StopMode::kStop);
      return;
    case internal::DISCARD:
    case internal::KILL:
      commanded_.store(true);
      control_.RequestStop(StopMode::kDiscard);
      return;
    default:  // of a newer shim: additions only, so it can be left alone
      return;
  }
}

void ControlListener::ReadSignal() {
  signalfd_siginfo info;
  if (::read(signal_fd_.get(), &info, sizeof(info)) != sizeof(info)) return;
  ++signals_;
  switch (on_signal_) {
    case OnSignal::kLeave:
      leave_.store(true);
      control_.RequestStop(StopMode::kPause);
      return;
    case OnSignal::kStop:
      control_.RequestStop(signals_ == 1 ? StopMode::kStop : StopMode::kDiscard);
      return;
  }
}

}  // namespace trainerd::engine
