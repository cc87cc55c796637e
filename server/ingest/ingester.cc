// SPDX-License-Identifier: Apache-2.0
#include "server/ingest/ingester.h"

#include <utility>
#include <vector>

#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "server/ingest/ingest.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// Spools are read at least this often, because a full inotify queue loses notifications.
constexpr absl::Duration kReadEvery = absl::Milliseconds(500);
// Number of batches of one attempt before the other attempts are read.
constexpr int kBatchesPerTurn = 16;
constexpr absl::Duration kRetryAfterError = absl::Milliseconds(500);

}  // namespace

Ingester::Ingester(Store& store, std::unique_ptr<SpoolWatcher> watcher, ActivityTable& activity,
                   Hooks hooks)
    : store_(store),
      watcher_(std::move(watcher)),
      activity_(activity),
      hooks_(std::move(hooks)),
      thread_([this] { Loop(); }) {}

void Ingester::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  watcher_->Wake();
  if (thread_.joinable()) thread_.join();
}

absl::Status Ingester::Add(const AttemptRef& attempt) {
  Source source{.attempt = attempt, .dir = AttemptDir(attempt.run_dir, attempt.attempt)};
  ASSIGN_OR_RETURN(const SpoolRow row, store_.Read([&](Connection& db) {
    return LoadSpoolPosition(db, JobId(attempt.job), attempt.attempt);
  }));
  source.position = {.segment = row.segment, .offset = row.offset};
  const std::string dir = source.dir;
  {
    absl::MutexLock lock(&mutex_);
    sources_.emplace(Key(attempt.job, attempt.attempt), std::move(source));
  }
  // Without notifications (a full disk, too many watches) the spool is read every kReadEvery.
  absl::Status watched = MakeDirectories(dir);
  if (watched.ok()) watched = watcher_->Add(dir);
  if (!watched.ok()) {
    spdlog::warn("job={} attempt={} cannot watch the spool: {}", JobId(attempt.job),
                 attempt.attempt, std::string(watched.message()));
  }
  watcher_->Wake();
  return absl::OkStatus();
}

void Ingester::MarkEnding(const AttemptRef& attempt) {
  {
    absl::MutexLock lock(&mutex_);
    auto it = sources_.find(Key(attempt.job, attempt.attempt));
    if (it == sources_.end()) return;
    it->second.ending = true;
  }
  watcher_->Wake();
}

bool Ingester::IsDrained(const AttemptRef& attempt) const {
  absl::MutexLock lock(&mutex_);
  auto it = sources_.find(Key(attempt.job, attempt.attempt));
  return it != sources_.end() && it->second.drained;
}

void Ingester::Remove(const AttemptRef& attempt) {
  Source source;
  {
    absl::MutexLock lock(&mutex_);
    auto it = sources_.find(Key(attempt.job, attempt.attempt));
    if (it == sources_.end()) return;
    source = it->second;
    sources_.erase(it);
  }
  watcher_->Remove(source.dir);
  if (!source.drained) return;
  absl::Status removed = RemoveSpoolSegments(source.dir, source.position.segment + 1);
  if (!removed.ok()) {
    spdlog::warn("job={} attempt={} cannot remove the spool: {}", JobId(attempt.job),
                 attempt.attempt, std::string(removed.message()));
  }
}

void Ingester::Loop() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    if (!PassOnce()) watcher_->Wait(kReadEvery);
  }
}

bool Ingester::PassOnce() {
  absl::MutexLock pass(&pass_mutex_);
  std::vector<std::pair<Key, Source>> sources;
  {
    absl::MutexLock lock(&mutex_);
    sources.assign(sources_.begin(), sources_.end());
  }
  bool more = false;
  for (auto& [key, source] : sources) {
    if (!source.drained) more |= ReadSource(key, std::move(source));
  }
  return more;
}

bool Ingester::ReadSource(const Key& key, Source source) {
  for (int i = 0; i < kBatchesPerTurn; ++i) {
    absl::StatusOr<SpoolBatch> batch =
        ReadSpool(source.dir, source.position, kMaxIngestEvents, kMaxIngestBytes);
    if (!batch.ok()) {
      ReportCorruption(source, std::string(batch.status().message()));
      source.corruption_reported = true;
      source.drained = source.ending;
      Update(key, source);
      return false;
    }
    const bool at_end = batch->at_end;
    const bool corrupt = batch->corruption.has_value();
    if (corrupt && !source.corruption_reported) ReportCorruption(source, *batch->corruption);
    source.corruption_reported = corrupt && batch->next == source.position;
    const SpoolPosition next = batch->next;
    if (!(next == source.position) || !batch->events.empty()) {
      absl::Status taken = TakeBatch(source, *std::move(batch));
      if (!taken.ok()) {
        // For example on a full disk. The events stay in the spool and are ingested later.
        spdlog::error("job={} attempt={} cannot store events: {}", JobId(source.attempt.job),
                      source.attempt.attempt, std::string(taken.message()));
        absl::SleepFor(kRetryAfterError);
        return false;
      }
      if (next.segment > source.position.segment) {
        RemoveSpoolSegments(source.dir, next.segment).IgnoreError();  // Remove repeats it
      }
      source.position = next;
    }
    if (at_end) {
      source.drained = source.ending;
      ReportIfEnded(key, source);
      return false;
    }
    Update(key, source);
  }
  return true;
}

absl::Status Ingester::TakeBatch(const Source& source, SpoolBatch batch) {
  IngestBatch ingest{.job = source.attempt.job,
                     .attempt = source.attempt.attempt,
                     .events = std::move(batch.events),
                     .next = {.segment = batch.next.segment, .offset = batch.next.offset}};
  bool checkpoint = false;
  for (const v1::Event& event : ingest.events) {
    checkpoint |= event.has_checkpoint();
    if (event.has_metrics()) {
      activity_.Step(source.attempt.job, absl::Seconds(event.metrics().step_seconds()),
                     store_.SteadyNow());
    }
    // Time without space is no time without a step.
    if (event.has_condition_changed()) activity_.Start(source.attempt.job, store_.SteadyNow());
  }
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) { return IngestEvents(t, ingest); }));
  if (checkpoint) hooks_.poke(source.attempt.job);
  return absl::OkStatus();
}

void Ingester::ReportCorruption(const Source& source, const std::string& what) {
  if (source.corruption_reported) return;
  spdlog::error("job={} attempt={} spool: {}", JobId(source.attempt.job), source.attempt.attempt,
                what);
  absl::Status stored = store_.Change([&](Transaction& t) {
    v1::Event event;
    event.set_job(source.attempt.job);
    event.set_attempt(source.attempt.attempt);
    event.mutable_notice()->set_level(v1::Notice::ERROR);
    event.mutable_notice()->set_code("SPOOL_CORRUPT");
    event.mutable_notice()->set_message("events of the worker were lost: " + what);
    return t.Append(std::move(event));
  });
  if (!stored.ok()) spdlog::error("cannot store a notice: {}", std::string(stored.message()));
}

void Ingester::Update(const Key& key, const Source& source) {
  absl::MutexLock lock(&mutex_);
  auto it = sources_.find(key);
  if (it == sources_.end()) return;
  // If MarkEnding was called during this pass, the next pass reads to the end again.
  const bool ending = it->second.ending;
  it->second = source;
  it->second.ending = ending;
  it->second.drained = source.drained;
}

void Ingester::ReportIfEnded(const Key& key, const Source& source) {
  Source updated = source;
  const bool records =
      PathExists(source.dir + "/exit.rec") || PathExists(source.dir + "/worker_exit.rec");
  const bool report = source.drained || (records && !source.end_reported);
  updated.end_reported = source.end_reported || PathExists(source.dir + "/exit.rec");
  Update(key, updated);
  if (report) hooks_.poke(source.attempt.job);
}

}  // namespace trainerd::server
