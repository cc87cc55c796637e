// SPDX-License-Identifier: Apache-2.0
// A TCP proxy in front of the daemon that acts like a NAT, which drops idle connections, or like a
// stopped client, which no longer reads what the daemon sends.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/base/fd.h"

namespace trainerd::server {

class Proxy {
 public:
  struct Options {
    // Path of the daemon's socket; at most 107 bytes.
    std::string upstream;
    // A connection without a byte in either direction for this long is dropped.
    absl::Duration drop_idle = absl::InfiniteDuration();
    // Of each connection, no more than so much of what the daemon sends is read.
    int64_t pass_bytes = INT64_MAX;
  };
  explicit Proxy(Options options) : options_(std::move(options)) {
    listen_fd_.Reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    EXPECT_EQ(::bind(listen_fd_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    EXPECT_EQ(::listen(listen_fd_.get(), 128), 0);
    EXPECT_EQ(::getsockname(listen_fd_.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(name.sin_port));
    thread_ = std::thread([this] { Loop(); });
  }
  ~Proxy() {
    stopping_ = true;
    thread_.join();
  }
  const std::string& address() const { return address_; }
  int dropped() const { return dropped_; }
  // Connections on which pass_bytes is used up.
  int stalled() const { return stalled_; }

 private:
  struct Pair {
    Fd client, daemon;
    absl::Time last_byte = absl::Now();
    int64_t left;
    bool open = true;
  };

  void Loop() {
    while (!stopping_) {
      std::vector<pollfd> fds = {{listen_fd_.get(), POLLIN, 0}};
      for (const Pair& pair : pairs_) {
        fds.push_back({pair.client.get(), POLLIN, 0});
        fds.push_back({pair.left > 0 ? pair.daemon.get() : -1, POLLIN, 0});
      }
      ::poll(fds.data(), fds.size(), 5);
      size_t i = 1;
      for (Pair& pair : pairs_) {
        if (fds[i].revents != 0) Pass(pair, pair.client, pair.daemon);
        if (fds[i + 1].revents != 0) {
          pair.left -= Pass(pair, pair.daemon, pair.client);
          stalled_ += pair.left <= 0;
        }
        i += 2;
        if (absl::Now() - pair.last_byte <= options_.drop_idle) continue;
        pair.open = false;
        ++dropped_;
      }
      pairs_.remove_if([](const Pair& pair) { return !pair.open; });
      if (fds[0].revents != 0) Accept();
    }
  }
  void Accept() {
    Pair pair{.left = options_.pass_bytes};
    pair.client.Reset(::accept4(listen_fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    pair.daemon.Reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, options_.upstream.c_str(), sizeof(name.sun_path) - 1);
    if (::connect(pair.daemon.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0)
      pairs_.push_back(std::move(pair));
  }
  // The number of bytes.
  static ssize_t Pass(Pair& pair, const Fd& from, const Fd& to) {
    char buffer[16 << 10];
    const ssize_t n = ::read(from.get(), buffer, sizeof(buffer));
    pair.last_byte = absl::Now();
    for (ssize_t done = 0; done < n;) {
      const ssize_t sent =
          ::send(to.get(), buffer + done, static_cast<size_t>(n - done), MSG_NOSIGNAL);
      if (sent <= 0) break;
      done += sent;
    }
    if (n <= 0) pair.open = false;
    return std::max<ssize_t>(n, 0);
  }

  const Options options_;
  Fd listen_fd_;
  std::string address_;
  std::list<Pair> pairs_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> dropped_{0}, stalled_{0};
  std::thread thread_;
};

}  // namespace trainerd::server
