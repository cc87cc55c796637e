// SPDX-License-Identifier: Apache-2.0
#include "server/events/fan_out.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace trainerd::server {
namespace {

// Longest sleep when nothing is due: only a bound, every change wakes the thread.
constexpr absl::Duration kMaxSleep = absl::Seconds(60);

}  // namespace

FanOut::FanOut(const EventLog& log, std::string database_id, std::function<absl::Time()> clock)
    : log_(log),
      database_id_(std::move(database_id)),
      clock_(std::move(clock)),
      thread_([this] { Loop(); }) {}

FanOut::~FanOut() {
  Drain(absl::UnavailableError("the daemon is leaving"));
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void FanOut::Add(WatchOptions options, WatchSink* sink) {
  Command command{.kind = Command::Kind::kAdd};
  command.entry.watch = std::make_unique<Watch>(std::move(options), database_id_, clock_());
  command.entry.sink = sink;
  absl::MutexLock lock(&mutex_);
  command.id = sink->watch_id = next_id_++;
  ++watchers_;
  inbox_.push_back(std::move(command));
}

void FanOut::WriteDone(int64_t id, bool ok) {
  absl::MutexLock lock(&mutex_);
  inbox_.push_back({.kind = Command::Kind::kWriteDone, .id = id, .ok = ok});
}

void FanOut::Cancel(int64_t id) {
  absl::MutexLock lock(&mutex_);
  inbox_.push_back({.kind = Command::Kind::kCancel, .id = id});
}

void FanOut::Wake() {
  absl::MutexLock lock(&mutex_);
  woken_ = true;
}

void FanOut::Drain(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!draining_.has_value()) draining_ = status;
  woken_ = true;
}

int64_t FanOut::watchers() const {
  absl::MutexLock lock(&mutex_);
  return watchers_;
}

void FanOut::Loop() {
  absl::Time wake_at = absl::InfinitePast();
  while (true) {
    std::vector<Command> commands;
    bool new_events = false;
    std::optional<absl::Status> draining;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Duration sleep = std::clamp(wake_at - clock_(), absl::ZeroDuration(), kMaxSleep);
      mutex_.AwaitWithTimeout(absl::Condition(this, &FanOut::HasWork), sleep);
      commands.swap(inbox_);
      new_events = std::exchange(woken_, false);
      draining = draining_;
      if (stopping_ && commands.empty() && entries_.empty()) return;
    }
    for (Command& command : commands) Apply(std::move(command));
    if (draining.has_value()) CloseAll(*draining, clock_());
    Pass(clock_(), new_events);
    wake_at = clock_() + kMaxSleep;
    for (const auto& [id, entry] : entries_) {
      wake_at = std::min(wake_at, entry.writing ? entry.abandon_at : entry.wake);
    }
  }
}

void FanOut::Apply(Command command) {
  if (command.kind == Command::Kind::kAdd) {
    ready_.insert(command.id);
    entries_.emplace(command.id, std::move(command.entry));
    return;
  }
  auto it = entries_.find(command.id);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  if (command.kind == Command::Kind::kWriteDone) entry.writing = false;
  const bool gone = command.kind == Command::Kind::kCancel || !command.ok;
  if (gone && !entry.closing.has_value()) entry.closing = absl::CancelledError("the watcher left");
  ready_.insert(command.id);
}

void FanOut::CloseAll(const absl::Status& status, absl::Time now) {
  for (auto& [id, entry] : entries_) {
    if (!entry.closing.has_value()) {
      entry.closing = status;
      entry.abandon_at = now + kDrainPatience;
      ready_.insert(id);
    }
    if (entry.writing && now >= entry.abandon_at) {
      entry.abandon_at = absl::InfiniteFuture();
      entry.sink->Abandon();
    }
  }
}

void FanOut::Pass(absl::Time now, bool new_events) {
  BatchCache cache;
  std::set<int64_t> ready = std::exchange(ready_, {});
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto current = it++;
    Entry& entry = current->second;
    const bool due = new_events || ready.count(current->first) > 0 || now >= entry.wake;
    if (entry.writing || !due) continue;
    if (!AdvanceOne(current->first, entry, &cache, now)) {
      entries_.erase(current);
      absl::MutexLock lock(&mutex_);
      --watchers_;
    }
  }
}

bool FanOut::AdvanceOne(int64_t id, Entry& entry, BatchCache* cache, absl::Time now) {
  if (entry.closing.has_value()) {
    entry.sink->Finish(*entry.closing);
    return false;
  }
  Watch::Next next = entry.watch->Advance(log_, cache, now);
  if (next.finish.has_value()) {
    entry.sink->Finish(*next.finish);
    return false;
  }
  entry.wake = next.wake;
  if (next.message != nullptr) {
    entry.writing = true;
    entry.sink->Write(std::move(next.message));
  }
  return true;
}

}  // namespace trainerd::server
