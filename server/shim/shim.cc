// SPDX-License-Identifier: Apache-2.0
// The poll loop: signals, the control socket and its clients, the log pipe, the escalation's timer.
#include "server/shim/shim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/shim/attempt_claim.h"
#include "server/shim/control_server.h"
#include "server/shim/log_capture.h"
#include "server/shim/oom_watch.h"
#include "server/shim/stop_escalation.h"
#include "server/shim/worker_process.h"

namespace trainerd::server {
namespace {

// How long an attempt that has just ended can still hold run.lock.
constexpr absl::Duration kLockPatience = absl::Seconds(2);
constexpr int kDefaultGraceSeconds = 300;
// On a full disk, writing exit.rec is repeated at this interval until it succeeds.
constexpr int kRecordRetryMs = 1000;
constexpr size_t kLogChunkBytes = 64 << 10;

MonotonicMs NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

MonotonicMs GraceMs(const internal::AttemptSpec& spec) {
  const auto& limits = spec.config().config().limits();
  if (!limits.has_stop_grace()) return kDefaultGraceSeconds * 1000;
  return absl::ToInt64Milliseconds(FromProto(limits.stop_grace()));
}

LogCapture::Options LogOptions(const std::string& attempt_dir, const internal::AttemptSpec& spec) {
  LogCapture::Options options;
  options.dir = attempt_dir + "/logs";
  if (spec.log_file_bytes() > 0) options.file_bytes = spec.log_file_bytes();
  if (spec.log_files() > 0) options.files = spec.log_files();
  return options;
}

// Returns a descriptor to read the signals from. They stay blocked until the process exits.
int BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

// Whether exit.rec needs no further try: it is durable, or the attempt directory was removed.
bool TryWriteRecord(const std::string& attempt_dir, const internal::ExitRecord& record) {
  const absl::Status status = WriteExitRecord(attempt_dir, record);
  if (status.ok()) return true;
  std::fprintf(stderr, "trainerd-shim: cannot write exit.rec: %s\n",
               std::string(status.message()).c_str());
  return absl::IsNotFound(status);
}

class Shim {
 public:
  Shim(std::string attempt_dir, const internal::AttemptSpec& spec, int signal_fd)
      : attempt_dir_(std::move(attempt_dir)),
        spec_(spec),
        signal_fd_(signal_fd),
        log_(LogOptions(attempt_dir_, spec)) {}

  // Listens and starts the worker. Errors go into exit.rec as spawn_error.
  absl::Status Start(int run_lock_fd);
  // Runs until the worker has exited and exit.rec is durable. SIGTERM or SIGINT ends the wait for
  // space on a full disk.
  void Run();

 private:
  absl::Status WriteInfo() const {
    return WriteFileAtomic(attempt_dir_ + "/shim.json", MessageToJsonLine(info_));
  }
  internal::ShimReply Handle(const internal::ShimRequest& request);
  internal::ShimReply HandleSignal(const internal::ShimRequest::Signal& signal);
  void RunUntilWorkerEnds(WorkerProcess::End* end);
  // True when SIGTERM or SIGINT requests an exit.
  bool TakeSignals();
  // False at the end of the pipe.
  bool CaptureLog();
  void DrainLog();
  void Escalate();
  int PollTimeoutMs() const;
  internal::ExitRecord Record(const WorkerProcess::End& end);

  const std::string attempt_dir_;
  const internal::AttemptSpec& spec_;
  const int signal_fd_;
  internal::ShimInfo info_;
  std::unique_ptr<ControlServer> control_;
  std::optional<WorkerProcess> worker_;
  LogCapture log_;
  OomWatch oom_;
  StopEscalation escalation_;
  bool log_open_ = true;
};

absl::Status Shim::Start(int run_lock_fd) {
  ASSIGN_OR_RETURN(
      control_, ControlServer::Listen(attempt_dir_, [this](const internal::ShimRequest& request) {
        return Handle(request);
      }));
  info_.set_protocol_min(kProtocolMin);
  info_.set_protocol_max(kProtocolMax);
  info_.set_version(TRAINERD_VERSION);
  *info_.mutable_start_time() = ToProto(absl::Now());
  ASSIGN_OR_RETURN(*info_.mutable_shim(), IdentifyProcess(getpid()));
  // Before the worker starts: from here on the attempt counts as started, whatever happens next.
  RETURN_IF_ERROR(WriteInfo());
  ASSIGN_OR_RETURN(WorkerProcess worker, WorkerProcess::Spawn({.worker_path = spec_.worker_path(),
                                                               .attempt_dir = attempt_dir_,
                                                               .run_lock_fd = run_lock_fd}));
  worker_.emplace(std::move(worker));
  *info_.mutable_worker() = worker_->id();
  if (absl::Status status = WriteInfo(); !status.ok()) {
    // Not fatal: the socket reports the worker's identity, and the worker's command line names the
    // attempt.
    std::fprintf(stderr, "trainerd-shim: %s\n", std::string(status.message()).c_str());
  }
  return absl::OkStatus();
}

void Shim::Run() {
  WorkerProcess::End end;
  RunUntilWorkerEnds(&end);
  DrainLog();
  const internal::ExitRecord record = Record(end);
  while (!TryWriteRecord(attempt_dir_, record)) {
    // Keeps answering, so that the daemon observes a live attempt and not a silent one.
    std::vector<pollfd> fds = {{signal_fd_, POLLIN, 0}};
    control_->AddPollFds(&fds);
    if (poll(fds.data(), fds.size(), kRecordRetryMs) <= 0) continue;
    if (TakeSignals()) return;
    control_->Serve(fds.data() + 1);
  }
}

void Shim::RunUntilWorkerEnds(WorkerProcess::End* end) {
  while (true) {
    std::vector<pollfd> fds;
    fds.push_back({signal_fd_, POLLIN, 0});
    fds.push_back({log_open_ ? worker_->log_fd() : -1, POLLIN, 0});
    control_->AddPollFds(&fds);
    if (poll(fds.data(), fds.size(), PollTimeoutMs()) < 0 && errno != EINTR) {
      std::fprintf(stderr, "trainerd-shim: poll: errno %d\n", errno);
      sleep(1);
      continue;
    }
    if (fds[0].revents != 0 && TakeSignals()) {
      worker_->CloseCommands();
      // The end of its socket means the same to the worker as STOP.
      escalation_.Delivered(internal::STOP);
      escalation_.BringForward(NowMs() + GraceMs(spec_));
    }
    if (fds[1].revents != 0) log_open_ = CaptureLog();
    control_->Serve(fds.data() + 2);
    Escalate();
    if (std::optional<WorkerProcess::End> ended = worker_->Reap(); ended.has_value()) {
      *end = *ended;
      return;
    }
  }
}

int Shim::PollTimeoutMs() const {
  const std::optional<MonotonicMs> due = escalation_.NextDue();
  if (!due.has_value()) return -1;
  return static_cast<int>(std::clamp<MonotonicMs>(*due - NowMs(), 0, 3600 * 1000));
}

bool Shim::TakeSignals() {
  bool exit = false;
  signalfd_siginfo info;
  while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    // An exited child is reaped after every wake-up.
    if (info.ssi_signo != SIGCHLD) exit = true;
  }
  return exit;
}

bool Shim::CaptureLog() {
  char buffer[kLogChunkBytes];
  const ssize_t n = read(worker_->log_fd(), buffer, sizeof(buffer));
  if (n > 0) log_.Write({buffer, static_cast<size_t>(n)});
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

void Shim::DrainLog() {
  // The pipe holds at most 1 MiB. A child of the worker can keep writing; the shim does not wait
  // for it.
  constexpr int kMaxChunks = 64;
  for (int i = 0; log_open_ && i < kMaxChunks; ++i) {
    pollfd fd{worker_->log_fd(), POLLIN, 0};
    if (poll(&fd, 1, 0) <= 0) break;
    log_open_ = CaptureLog();
  }
}

void Shim::Escalate() {
  switch (escalation_.TakeDue(NowMs())) {
    case StopEscalation::Action::kNone:
      return;
    case StopEscalation::Action::kTerminate:
      worker_->Kill(SIGTERM);
      return;
    case StopEscalation::Action::kKill:
      worker_->Kill(SIGKILL);
      return;
  }
}

internal::ShimReply Shim::Handle(const internal::ShimRequest& request) {
  internal::ShimReply reply;
  switch (request.request_case()) {
    case internal::ShimRequest::kHello: {
      const int common = std::min<int>(kProtocolMax, request.hello().protocol_max());
      if (common < std::max<int>(kProtocolMin, request.hello().protocol_min())) {
        reply.set_error(absl::StrCat("this shim speaks protocol ", kProtocolMin, " to ",
                                     kProtocolMax, ", the daemon ", request.hello().protocol_min(),
                                     " to ", request.hello().protocol_max()));
        return reply;
      }
      reply.set_protocol(common);
      break;
    }
    case internal::ShimRequest::kState:
      break;
    case internal::ShimRequest::kSignal:
      reply = HandleSignal(request.signal());
      break;
    case internal::ShimRequest::REQUEST_NOT_SET:
      reply.set_error("the request has no type that this shim knows");
      break;
  }
  if (reply.protocol() == 0) reply.set_protocol(kProtocolMax);
  *reply.mutable_info() = info_;
  reply.set_action(escalation_.action());
  return reply;
}

internal::ShimReply Shim::HandleSignal(const internal::ShimRequest::Signal& signal) {
  internal::ShimReply reply;
  if (!internal::RequestedAction_IsValid(signal.action()) ||
      signal.action() == internal::REQUESTED_ACTION_UNSPECIFIED) {
    reply.set_error(absl::StrCat("unknown action ", static_cast<int>(signal.action())));
    return reply;
  }
  // At most a year, and NaN counts as no deadline.
  const double seconds =
      signal.deadline_seconds() > 0 ? std::min(signal.deadline_seconds(), 86400.0 * 365) : 0;
  escalation_.Raise(signal.action(), static_cast<MonotonicMs>(seconds * 1000), NowMs());
  absl::Status sent;
  if (signal.action() == internal::CHECKPOINT) sent = worker_->Send(internal::CHECKPOINT);
  // An action that could not be delivered stays pending: the daemon gets the error and repeats it.
  if (const std::optional<internal::RequestedAction> action = escalation_.Undelivered();
      action.has_value()) {
    sent = worker_->Send(*action);
    if (sent.ok()) escalation_.Delivered(*action);
  }
  if (!sent.ok()) reply.set_error(std::string(sent.message()));
  return reply;
}

internal::ExitRecord Shim::Record(const WorkerProcess::End& end) {
  internal::ExitRecord record;
  record.set_exit_code(end.exit_code);
  record.set_signal(end.signal);
  record.set_core_dumped(end.core_dumped);
  record.set_killed_by_escalation(escalation_.used_force() && end.signal != 0);
  record.set_user_cpu_seconds(end.user_cpu_seconds);
  record.set_system_cpu_seconds(end.system_cpu_seconds);
  record.set_memory_peak_bytes(end.memory_peak_bytes);
  record.set_log_bytes_lost(log_.bytes_lost());
  *record.mutable_end_time() = ToProto(absl::Now());
  record.set_log_excerpt(log_.Excerpt());
  *record.mutable_worker() = worker_->id();
  const bool killed_by_others = end.signal == SIGKILL && !escalation_.used_force();
  // Where the kernel does not count its kills, an OOM kill is the most likely cause.
  record.set_likely_out_of_memory(killed_by_others && oom_.KillsSince().value_or(1) > 0);
  return record;
}

int Refuse(const std::string& attempt_dir, const std::string& why) {
  std::fprintf(stderr, "trainerd-shim: %s\n", why.c_str());
  internal::ExitRecord record;
  record.set_spawn_error(ToValidUtf8(why));
  *record.mutable_end_time() = ToProto(absl::Now());
  // On a full disk the daemon finds an attempt that never started, or one that ended without a
  // record.
  TryWriteRecord(attempt_dir, record);
  return kShimFailed;
}

}  // namespace

int RunShim(const std::string& attempt_dir) {
  const int signal_fd = BlockSignals();
  AttemptClaim claim;
  switch (claim.Take(attempt_dir, kLockPatience)) {
    case AttemptClaim::Verdict::kNotOurs:
      std::fprintf(stderr, "trainerd-shim: %s\n", claim.why().c_str());
      return kShimNotOurs;
    case AttemptClaim::Verdict::kRefused:
      return Refuse(attempt_dir, claim.why());
    case AttemptClaim::Verdict::kTaken:
      break;
  }
  Shim shim(attempt_dir, claim.spec(), signal_fd);
  if (absl::Status status = shim.Start(claim.run_lock_fd()); !status.ok()) {
    return Refuse(attempt_dir, std::string(status.message()));
  }
  shim.Run();
  return kShimDone;
}

}  // namespace trainerd::server
