// SPDX-License-Identifier: Apache-2.0
#include "server/host/service_manager.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/time.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// The thread looks this often within the watchdog's time, so that a ping is late by little.
constexpr int kLooks = 16;

}  // namespace

absl::Duration WatchdogTime(const std::string& usec, const std::string& pid, int64_t own_pid) {
  int64_t time = 0, for_pid = own_pid;
  if (!absl::SimpleAtoi(usec, &time) || time <= 0) return absl::ZeroDuration();
  if (!pid.empty() && (!absl::SimpleAtoi(pid, &for_pid) || for_pid != own_pid))
    return absl::ZeroDuration();
  return absl::Microseconds(time);
}

absl::Status SendToServiceManager(const std::string& socket, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool known = !socket.empty() && (socket[0] == '/' || socket[0] == '@');
  if (!known || socket.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET ", socket, " is neither an absolute path nor @NAME"));
  }
  std::memcpy(address.sun_path, socket.data(), socket.size());
  // The name of an abstract socket begins with a zero byte and has no zero byte at its end.
  const bool abstract = socket[0] == '@';
  if (abstract) address.sun_path[0] = '\0';
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size() + (abstract ? 0 : 1));
  const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return ErrnoStatus(errno, "socket");
  // A service manager that does not read must not stop the daemon.
  const ssize_t sent =
      ::sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), length);
  if (sent < 0) return ErrnoStatus(errno, absl::StrCat("NOTIFY_SOCKET ", socket));
  return absl::OkStatus();
}

bool WatchdogPings::IsDue(absl::Time now, int64_t rounds) {
  if (now < last_ping_ + time_ / 2 || rounds == rounds_) return false;
  last_ping_ = now;
  rounds_ = rounds;
  return true;
}

ServiceManager::ServiceManager(Options options) : options_(std::move(options)) {}

bool ServiceManager::Send(const std::string& message) {
  const absl::Status sent = SendToServiceManager(options_.socket, message);
  if (!sent.ok() && !send_failed_)
    spdlog::warn("cannot report to the service manager: {}", std::string(sent.message()));
  send_failed_ = !sent.ok();
  return sent.ok();
}

void ServiceManager::Ready() {
  if (options_.socket.empty()) return;
  Send("READY=1");
  thread_ = std::thread([this] { Loop(); });
}

void ServiceManager::Stopping() {
  if (options_.socket.empty()) return;
  Stop();
  Send("STOPPING=1\nSTATUS=shuts down; attempts continue under their shims");
}

void ServiceManager::Stop() {
  stopping_ = true;
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
}

void ServiceManager::Loop() {
  const bool watched = options_.watchdog > absl::ZeroDuration();
  const absl::Duration every =
      watched ? std::min(options_.watchdog / kLooks, options_.status_every) : options_.status_every;
  WatchdogPings pings(options_.watchdog, SteadyNow(), options_.rounds());
  absl::Time next_status = absl::InfinitePast();
  std::string shown;
  while (!stopping_) {
    if (watched) {
      if (pings.IsDue(SteadyNow(), options_.rounds()) && !Send("WATCHDOG=1")) pings.Repeat();
      options_.poke();
    }
    if (SteadyNow() >= next_status) {
      next_status = SteadyNow() + options_.status_every;
      const std::string status = absl::StrReplaceAll(options_.status(), {{"\n", " "}});
      if (status != std::exchange(shown, status)) Send(absl::StrCat("STATUS=", status));
    }
    wake_up_.SleepFor(every);
  }
}

}  // namespace trainerd::server
