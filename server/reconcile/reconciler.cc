// SPDX-License-Identifier: Apache-2.0
// The thread, its rounds, and the start of the daemon. One attempt is in reconciler_attempt.cc, the
// queue in reconciler_queue.cc.
#include "server/reconcile/reconciler.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/store/rows/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kQueueSoon = absl::Milliseconds(100);
constexpr absl::Duration kIdleEvery = absl::Seconds(5);
constexpr absl::Duration kExpireEvery = absl::Hours(1);
constexpr absl::Duration kRetryEvery = absl::Seconds(10);
// The daemon closes the attempts that have already ended before it serves, for at most this time.
constexpr absl::Duration kRecoverPatience = absl::Seconds(20);
// One per open attempt whose shim does not answer; more attempts than devices are never open.
constexpr int kMaxCallThreads = 64;

}  // namespace

Reconciler::Reconciler(Options options, Parts parts)
    : options_(std::move(options)),
      store_(parts.store),
      executor_(parts.executor),
      ingester_(parts.ingester),
      activity_(parts.activity),
      devices_(parts.devices),
      disk_(parts.disk),
      housekeeping_(parts.housekeeping),
      drain_(parts.drain),
      call_threads_(kMaxCallThreads),
      run_call_(options_.run_call ? options_.run_call : [this](std::function<void()> call) {
        call_threads_.Run(std::move(call));
      }) {}

Reconciler::~Reconciler() { Stop(); }

void Reconciler::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Reconciler::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
  // Their tasks call Poke.
  call_threads_.Stop();
  disk_.Stop();
}

void Reconciler::Poke(const std::string& job) {
  {
    absl::MutexLock lock(&mutex_);
    pokes_.insert(JobId(job));
  }
  wake_up_.Wake();
}

std::set<std::string> Reconciler::TakePokes() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(pokes_, {});
}

void Reconciler::Loop() {
  absl::Time next = absl::InfinitePast();
  while (true) {
    wake_up_.SleepFor(std::min(next - options_.clock(), kIdleEvery));
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    next = Step();
    ++rounds_;
  }
}

absl::Status Reconciler::Recover() {
  RETURN_IF_ERROR(LimitWaits());
  std::vector<std::pair<v1::Attempt, std::string>> open;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<v1::Attempt> attempts, ListOpenAttempts(db));
    for (v1::Attempt& attempt : attempts) {
      ASSIGN_OR_RETURN(JobRecord record, LoadJob(db, JobId(attempt.job())));
      open.emplace_back(std::move(attempt), record.job.run_dir());
    }
    return absl::OkStatus();
  }));
  for (const auto& [attempt, run_dir] : open) Attach(attempt, run_dir);
  KillOrphans();
  const absl::Time deadline = SteadyNow() + kRecoverPatience;
  while (!attempts_.empty() && SteadyNow() < deadline) {
    const absl::Time now = options_.clock();
    for (auto it = attempts_.begin(); it != attempts_.end();) {
      auto current = it++;
      StepAttempt(current->first, current->second, /*poked=*/false, now);
    }
    const bool any_ends = std::any_of(attempts_.begin(), attempts_.end(),
                                      [](const auto& entry) { return entry.second.MayEndSoon(); });
    if (!any_ends) break;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return housekeeping_.Recover();
}

// After a boot, what is left of a wait is known by the system's clock only, which may have been
// changed. No wait becomes longer than it was at first.
absl::Status Reconciler::LimitWaits() {
  const absl::Time now = options_.clock();
  const absl::Status evaluations =
      store_.Change([&](Transaction& t) { return LimitEvaluationTimes(t.db(), now, kMaxLease); });
  if (!evaluations.ok()) spdlog::warn("evaluations: {}", std::string(evaluations.message()));
  ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                   store_.Read([](Connection& db) { return JobsWithDeadlines(db); }));
  for (const std::string& id : ids) {
    const absl::Status limited = store_.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), id));
      if (!LimitDeadlines(now, LongestDelay(options_.backoff), &record)) return absl::OkStatus();
      return StoreJob(t.db(), &record);
    });
    // For example a full disk, on which the daemon starts too.
    if (!limited.ok()) spdlog::warn("job={} {}", id, std::string(limited.message()));
  }
  return absl::OkStatus();
}

void Reconciler::Attach(const v1::Attempt& attempt, const std::string& run_dir) {
  const std::string id = JobId(attempt.job());
  const AttemptRef ref = {.job = attempt.job(), .attempt = attempt.number(), .run_dir = run_dir};
  devices_.Hold({attempt.devices().begin(), attempt.devices().end()}, attempt.job());
  activity_.Start(attempt.job(), options_.clock());
  const auto [tracked, added] = attempts_.try_emplace(id, ref, MakeProbe(ref), /*launches=*/0);
  Ingest(tracked->second);
  spdlog::info("job={} attempt={} reattached", id, attempt.number());
}

void Reconciler::KillOrphans() {
  for (const AttemptRef& ref : executor_.ListOwned(options_.runs_dir)) {
    auto it = attempts_.find(JobId(ref.job));
    if (it != attempts_.end() && it->second.ref().attempt == ref.attempt) continue;
    spdlog::warn(
        "job={} attempt={} is an orphan and is killed: the database has no such open "
        "attempt",
        JobId(ref.job), ref.attempt);
    if (!executor_.Signal(ref, internal::KILL, absl::ZeroDuration()).ok()) {
      absl::Status killed = executor_.KillByIdentity(ref);
      if (!killed.ok()) spdlog::error("job={} {}", JobId(ref.job), std::string(killed.message()));
    }
  }
}

std::shared_ptr<AttemptProbe> Reconciler::MakeProbe(const AttemptRef& ref) {
  return std::make_shared<AttemptProbe>(executor_, ref, run_call_, [this] { Poke(""); });
}

absl::Time Reconciler::Step() {
  const absl::Time now = options_.clock();
  const std::set<std::string> pokes = TakePokes();
  absl::Time next = now + kIdleEvery;
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    auto current = it++;  // StepAttempt can erase it
    StepAttempt(current->first, current->second, pokes.count(current->first) > 0, now);
  }
  StepQueue(now);
  next = std::min(next, EndEvaluations(now));
  if (now >= next_expiry_) {
    next_expiry_ = now + kExpireEvery;
    housekeeping_.Expire();
  }
  if (now >= next_retry_) {
    next_retry_ = now + kRetryEvery;
    housekeeping_.RetryFailed();
  }
  for (const auto& [id, attempt] : attempts_) next = std::min(next, now + attempt.StepEvery());
  return std::min(next, std::max(next_queue_check_, now + kQueueSoon));
}

}  // namespace trainerd::server
