// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/interrupt.h"

#include <atomic>

namespace trainerd::client {
namespace {

// A signal handler can only access a global.
std::atomic<bool> g_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void OnSignal(int) { g_requested.store(true); }

}  // namespace

InterruptScope::InterruptScope() {
  g_requested.store(false);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // The second signal has its default action, so that a program that hangs can be ended.
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
}

bool InterruptScope::requested() const { return g_requested.load(); }

}  // namespace trainerd::client
