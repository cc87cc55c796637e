// SPDX-License-Identifier: Apache-2.0
// absl::Mutex and absl::Notification over pthread, for ThreadSanitizer. The distribution's Abseil
// is not instrumented, so ThreadSanitizer does not see the order that its locks establish. In tests
// of the preset `tsan`, these definitions override those of the shared library. Readers are
// exclusive, and each unlock wakes all waiters: slow, but simple.
#include <pthread.h>

#include <atomic>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace {

struct PthreadLock {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
};

// absl::Mutex holds one atomic word. Here it points to a PthreadLock that is made on first use.
PthreadLock& LockOf(absl::Mutex* mutex) {
  auto* word = reinterpret_cast<std::atomic<PthreadLock*>*>(mutex);
  PthreadLock* lock = word->load(std::memory_order_acquire);
  if (lock != nullptr) return *lock;
  auto* created = new PthreadLock;
  if (word->compare_exchange_strong(lock, created)) return *created;
  delete created;
  return *lock;
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

static_assert(sizeof(Mutex) == sizeof(std::atomic<PthreadLock*>));

Mutex::~Mutex() { delete reinterpret_cast<std::atomic<PthreadLock*>*>(this)->load(); }

void Mutex::Lock() { pthread_mutex_lock(&LockOf(this).mutex); }

void Mutex::Unlock() {
  PthreadLock& lock = LockOf(this);
  pthread_cond_broadcast(&lock.changed);
  pthread_mutex_unlock(&lock.mutex);
}

bool Mutex::TryLock() { return pthread_mutex_trylock(&LockOf(this).mutex) == 0; }
void Mutex::AssertHeld() const {}
void Mutex::AssertReaderHeld() const {}
void Mutex::ReaderLock() { Lock(); }
void Mutex::ReaderUnlock() { Unlock(); }
bool Mutex::ReaderTryLock() { return TryLock(); }

bool Mutex::AwaitWithDeadline(const Condition& cond, Time deadline) {
  PthreadLock& lock = LockOf(this);
  const timespec until = ToTimespec(deadline);
  while (!cond.Eval()) {
    if (deadline == InfiniteFuture()) {
      pthread_cond_wait(&lock.changed, &lock.mutex);
    } else if (pthread_cond_timedwait(&lock.changed, &lock.mutex, &until) != 0) {
      return cond.Eval();
    }
  }
  return true;
}

bool Mutex::AwaitWithTimeout(const Condition& cond, Duration timeout) {
  return AwaitWithDeadline(cond, Now() + timeout);
}
void Mutex::Await(const Condition& cond) { AwaitWithDeadline(cond, InfiniteFuture()); }
void Mutex::LockWhen(const Condition& cond) {
  Lock();
  Await(cond);
}
bool Mutex::LockWhenWithDeadline(const Condition& cond, Time deadline) {
  Lock();
  return AwaitWithDeadline(cond, deadline);
}
bool Mutex::LockWhenWithTimeout(const Condition& cond, Duration timeout) {
  Lock();
  return AwaitWithTimeout(cond, timeout);
}

Notification::~Notification() { MutexLock lock(&mutex_); }

void Notification::Notify() {
  MutexLock lock(&mutex_);
  notified_yet_.store(true, std::memory_order_release);
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  MutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(Condition(&HasBeenNotifiedInternal, &notified_yet_), deadline);
}
bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  return WaitForNotificationWithDeadline(Now() + timeout);
}
void Notification::WaitForNotification() const {
  WaitForNotificationWithDeadline(InfiniteFuture());
}

ABSL_NAMESPACE_END
}  // namespace absl
