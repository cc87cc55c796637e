// SPDX-License-Identifier: Apache-2.0
// Reports to the service manager that started the daemon (systemd): ready, shutting down, a line of
// status, and pings of its watchdog. The protocol is one datagram per message to the socket of
// NOTIFY_SOCKET, as sd_notify(3) describes it; without a socket nothing is sent.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/base/process/wake_up.h"

namespace trainerd::server {

// The watchdog's time from WATCHDOG_USEC and WATCHDOG_PID; 0: this process has no watchdog.
absl::Duration WatchdogTime(const std::string& usec, const std::string& pid, int64_t own_pid);

// Sends one message, for example "READY=1", to a socket: a path, or @NAME in the abstract
// namespace.
absl::Status SendToServiceManager(const std::string& socket, const std::string& message);

// When to ping: half of the watchdog's time after the last ping, once a round has been completed
// since then. Pure.
class WatchdogPings {
 public:
  WatchdogPings(absl::Duration time, absl::Time now, int64_t rounds)
      : time_(time), last_ping_(now), rounds_(rounds) {}
  // Whether to ping now; a ping that it requests counts as sent.
  bool IsDue(absl::Time now, int64_t rounds);
  // The ping could not be sent: the next look requests it again.
  void Repeat() { last_ping_ = absl::InfinitePast(), rounds_ = -1; }

 private:
  const absl::Duration time_;
  absl::Time last_ping_;
  int64_t rounds_;
};

class ServiceManager {
 public:
  struct Options {
    // NOTIFY_SOCKET; empty: there is no service manager.
    std::string socket;
    // 0: no watchdog.
    absl::Duration watchdog = absl::ZeroDuration();
    // Grows while the daemon's main loop lives, at once after `poke`.
    std::function<int64_t()> rounds;
    std::function<void()> poke;
    // One line for STATUS=.
    std::function<std::string()> status;
    absl::Duration status_every = absl::Seconds(5);
  };
  explicit ServiceManager(Options options);
  ~ServiceManager() { Stop(); }

  // The daemon serves. Starts the thread that pings and sends the status when it has changed.
  void Ready();
  // The daemon shuts down. Ends the thread.
  void Stopping();

 private:
  void Loop();
  void Stop();
  bool Send(const std::string& message);

  const Options options_;
  std::atomic<bool> stopping_{false};
  bool send_failed_ = false;
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
