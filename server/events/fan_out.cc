// SPDX-License-Identifier: Apache-2.0
#include "server/events/fan_out.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace trainerd::server {
namespace {

// Upper bound of a sleep. Every change wakes the thread earlier.
constexpr absl::Duration kMaxSleep = absl::Seconds(60);
constexpr int kReaderThreads = 2;

}  // namespace

FanOut::FanOut(const EventLog& log, std::string database_id, std::function<absl::Time()> clock)
    : log_(log),
      database_id_(std::move(database_id)),
      clock_(std::move(clock)),
      readers_(kReaderThreads),
      thread_([this] { Loop(); }) {}

FanOut::~FanOut() {
  Drain(absl::UnavailableError("the daemon is shutting down"));
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  thread_.join();
  readers_.Finish();
}

void FanOut::Add(WatchOptions options, WatchSink* sink) {
  Command command{.kind = Command::Kind::kAdd};
  command.entry.watch = std::make_shared<Watch>(std::move(options), database_id_, clock_());
  command.entry.sink = sink;
  {
    absl::MutexLock lock(&mutex_);
    command.id = sink->watch_id = next_id_++;
    inbox_.push_back(std::move(command));
  }
  wake_up_.Wake();
}

void FanOut::Send(Command command) {
  {
    absl::MutexLock lock(&mutex_);
    inbox_.push_back(std::move(command));
  }
  wake_up_.Wake();
}

void FanOut::WriteDone(int64_t id, bool ok) {
  Send({.kind = Command::Kind::kWriteDone, .id = id, .ok = ok});
}

void FanOut::Cancel(int64_t id) { Send({.kind = Command::Kind::kCancel, .id = id}); }

void FanOut::Wake() {
  {
    absl::MutexLock lock(&mutex_);
    woken_ = true;
  }
  wake_up_.Wake();
}

void FanOut::Drain(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (!draining_.has_value()) draining_ = status;
    woken_ = true;
  }
  wake_up_.Wake();
}

void FanOut::Loop() {
  absl::Time wake_at = absl::InfinitePast();
  while (true) {
    std::vector<Command> commands;
    bool new_events = false;
    std::optional<absl::Status> draining;
    wake_up_.SleepFor(std::min(wake_at - clock_(), kMaxSleep));
    {
      absl::MutexLock lock(&mutex_);
      if (IsDone()) return;
      commands.swap(inbox_);
      new_events = std::exchange(woken_, false);
      draining = draining_;
    }
    for (Command& command : commands) Apply(std::move(command));
    if (draining.has_value()) CloseAll(*draining, clock_());
    Pass(clock_(), new_events);
    absl::MutexLock lock(&mutex_);
    if (IsDone()) return;
    wake_at = NextWake(clock_());
  }
}

absl::Time FanOut::NextWake(absl::Time now) const {
  absl::Time wake = now + kMaxSleep;
  for (const auto& [id, entry] : entries_) {
    if (entry.reading) continue;
    wake = std::min(wake, entry.writing ? entry.abandon_at : entry.wake);
  }
  return wake;
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
  if (command.kind == Command::Kind::kReadDone) entry.reading = false;
  const bool disconnected = command.kind == Command::Kind::kCancel || !command.ok;
  if (disconnected && !entry.closing.has_value()) {
    entry.closing = absl::CancelledError("the watcher has disconnected");
  }
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
    // A watcher that is being closed does not wait for its read.
    const bool busy = entry.writing || (entry.reading && !entry.closing.has_value());
    if (busy || !due) continue;
    if (!AdvanceOne(current->first, entry, &cache, now)) entries_.erase(current);
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
  if (next.read_history) StartRead(id, entry);
  if (next.message != nullptr) {
    entry.writing = true;
    entry.sink->Write(std::move(next.message));
  }
  return true;
}

void FanOut::StartRead(int64_t id, Entry& entry) {
  entry.reading = true;
  readers_.Run([this, id, watch = std::weak_ptr<Watch>(entry.watch)] {
    // Null: the watcher has been closed meanwhile.
    if (std::shared_ptr<Watch> open = watch.lock()) open->ReadHistory(log_, clock_());
    Send({.kind = Command::Kind::kReadDone, .id = id});
  });
}

}  // namespace trainerd::server
