// SPDX-License-Identifier: Apache-2.0
// One open attempt: observe, decide, carry out.
#include <algorithm>
#include <utility>
#include <vector>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/ledger/transition.h"
#include "server/reconcile/reconciler.h"
#include "server/store/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kDiskEvery = absl::Seconds(10);
constexpr absl::Duration kKillAgain = absl::Seconds(2);
constexpr absl::Duration kFinishAgain = absl::Seconds(2);
// A scan that met an I/O error is repeated after this time, doubling.
constexpr absl::Duration kScanAgain = absl::Seconds(2);
constexpr absl::Duration kScanAgainMax = absl::Minutes(1);

absl::Duration ScanDelay(int failures) {
  absl::Duration delay = kScanAgain;
  for (int i = 1; i < failures && delay < kScanAgainMax; ++i) delay *= 2;
  return std::min(delay, kScanAgainMax);
}

// Nothing on the disk matters any more.
bool IsDropped(const v1::Job& job) {
  return job.state() == v1::Job::STOPPING && job.desired_state() >= v1::Job::DESIRED_DISCARD;
}

}  // namespace

void Reconciler::StepAttempt(const std::string& job_id, Active& active, bool poked,
                             absl::Time now) {
  absl::StatusOr<JobRecord> record = absl::InternalError("not read");
  absl::Status read = store_.Read([&](Connection& db) {
    record = LoadJob(db, job_id);
    return record.status();
  });
  if (!read.ok()) {
    spdlog::error("job={} cannot be read: {}", job_id, std::string(read.message()));
    return;
  }
  TidyUp(*record, active, now);
  Observe(active, poked, now);
  TakeScan(*record, active, now);
  CarryOut(*record, Decide(InputFor(*record, active, now)), active, now);
}

void Reconciler::TidyUp(const JobRecord& record, Active& active, absl::Time now) {
  const std::string job_id = JobId(record.job.name());
  Ingest(active);
  if (active.retained_for != record.job.latest_checkpoint()) {
    active.retained_for = record.job.latest_checkpoint();
    housekeeping_.Retain(job_id);
  }
  if (now >= active.next_disk_check) {
    active.next_disk_check = now + kDiskEvery;
    housekeeping_.CheckDisk(job_id);
  }
}

void Reconciler::Ingest(Active& active) {
  if (active.ingesting) return;
  absl::Status added = ingester_.Add(active.ref);
  if (!added.ok()) {
    // Tried again in the next round: without it the attempt would never be closed.
    spdlog::error("job={} attempt={} spool is not read yet: {}", JobId(active.ref.job),
                  active.ref.attempt, std::string(added.message()));
    return;
  }
  active.ingesting = true;
  if (active.ending) ingester_.MarkEnding(active.ref);
}

void Reconciler::Observe(Active& active, bool poked, absl::Time now) {
  // An end does not change any more, except that an attempt that never started may be launched
  // again.
  if (active.HasEnded() && active.ending) return;
  if (!poked && now < active.observed_at + active.ObserveEvery()) return;
  active.observation = executor_.Observe(active.ref);
  active.observed_at = now;
  if (active.observation->kind != Observation::Kind::kUnknown) {
    active.unknown_since = absl::InfiniteFuture();
  } else if (active.unknown_since == absl::InfiniteFuture()) {
    active.unknown_since = now;
    spdlog::warn("job={} attempt={} does not answer: {}", JobId(active.ref.job), active.ref.attempt,
                 active.observation->detail);
  }
}

DecideInput Reconciler::InputFor(const JobRecord& record, const Active& active,
                                 absl::Time now) const {
  const v1::Job& job = record.job;
  const internal::JobLedger& ledger = record.ledger;
  const Observation& observation = *active.observation;
  DecideInput input{.state = job.state(),
                    .desired_state = job.desired_state(),
                    .observed = observation.kind,
                    .never_started = observation.never_started,
                    .now = now};
  if (observation.info.has_value()) {
    input.shim_alive = IsAlive(observation.info->shim());
    input.boot_changed = observation.info->shim().boot_id() != options_.boot_id;
  }
  if (ledger.has_end_deadline()) input.end_deadline = FromProto(ledger.end_deadline());
  if (ledger.has_end_requested()) input.end_requested = FromProto(ledger.end_requested());
  input.unknown_since = active.unknown_since;
  input.stop_grace = FromProto(job.config().limits().stop_grace());
  const absl::Duration limit = FromProto(job.config().limits().max_run_time());
  if (limit > absl::ZeroDuration() && ledger.has_running_since()) {
    const absl::Duration ran =
        absl::Seconds(ledger.run_seconds()) + (now - FromProto(ledger.running_since()));
    input.run_time_exceeded = ran > limit;
  }
  input.stalled = activity_.IsStalled(job.name(), now);
  input.signalled = active.signalled;
  input.signalled_at = active.signalled_at;
  input.launches = active.launches;
  input.ending = active.ending;
  input.drained = active.ending && ingester_.IsDrained(active.ref);
  input.scan_started = active.scan_started;
  input.scanned = active.scan.has_value();
  return input;
}

void Reconciler::CarryOut(const JobRecord& record, const Decision& decision, Active& active,
                          absl::Time now) {
  const std::string job_id = JobId(record.job.name());
  if (!active.ending) ShowConditions(record, decision);
  if (decision.relaunch) Relaunch(record, active);
  if (decision.stop_for_limit) StopForLimit(job_id);
  if (decision.signal.has_value()) {
    absl::Status sent = executor_.Signal(active.ref, *decision.signal, decision.signal_grace);
    if (sent.ok()) {
      active.signalled = *decision.signal;
      active.signalled_at = now;
      active.signal_problem.clear();
    } else if (active.signal_problem != sent.message()) {  // sent again in every round
      active.signal_problem = std::string(sent.message());
      spdlog::warn("job={} attempt={} signal {}: {}", JobId(record.job.name()), active.ref.attempt,
                   internal::RequestedAction_Name(*decision.signal), std::string(sent.message()));
    }
  }
  if (decision.kill_by_identity && now >= active.killed_at + kKillAgain) {
    active.killed_at = now;
    spdlog::warn("job={} attempt={} killed by identity", JobId(record.job.name()),
                 active.ref.attempt);
    absl::Status killed = executor_.KillByIdentity(active.ref);
    if (!killed.ok()) {
      spdlog::error("job={} {}", JobId(record.job.name()), std::string(killed.message()));
    }
  }
  if (decision.begin_ending) {
    active.ending = true;
    ingester_.MarkEnding(active.ref);
  }
  if (decision.begin_scan && (now >= active.next_scan || IsDropped(record.job))) {
    BeginScan(record, active);
  }
  if (!decision.finish || now < active.finish_after) return;
  active.finish_after = now + kFinishAgain;
  if (Finish(job_id, active)) {
    active_.erase(job_id);
  } else {
    ++active.finish_failures;
  }
}

void Reconciler::ShowConditions(const JobRecord& record, const Decision& decision) {
  const bool lost_shown = IsConditionActive(record.job, "ControlLost");
  const bool stalled_shown = IsConditionActive(record.job, "Stalled");
  // Stalled is cleared by a step, by whoever takes it.
  const bool stalled = decision.stalled || stalled_shown;
  if (lost_shown == decision.control_lost && stalled_shown == stalled) return;
  const std::string job_id = JobId(record.job.name());
  absl::Status shown = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord current, LoadJob(t.db(), job_id));
    ASSIGN_OR_RETURN(
        bool changed,
        ApplyCondition(t,
                       {.type = "ControlLost",
                        .active = decision.control_lost,
                        .reason = decision.control_lost ? "NO_ANSWER" : "ANSWERS",
                        .message = "the attempt's shim does not answer; the device stays taken"},
                       &current));
    if (stalled) {
      ASSIGN_OR_RETURN(bool also,
                       ApplyCondition(t,
                                      {.type = "Stalled",
                                       .active = true,
                                       .reason = "NO_STEP",
                                       .message = "no optimizer step for much longer than usual"},
                                      &current));
      changed |= also;
    }
    return changed ? StoreJob(t.db(), &current) : absl::OkStatus();
  });
  if (!shown.ok()) spdlog::error("job={} condition: {}", job_id, std::string(shown.message()));
}

void Reconciler::StopForLimit(const std::string& job_id) {
  absl::Status stopped = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
    if (record.job.state() != v1::Job::RUNNING || record.ledger.save_final_begun()) {
      return absl::OkStatus();
    }
    record.ledger.set_limit_reached(true);
    *record.ledger.mutable_end_requested() = ToProto(t.now());
    *record.ledger.mutable_end_deadline() =
        ToProto(t.now() + FromProto(record.job.config().limits().stop_grace()));
    return ApplyTransition(t,
                           {.to = v1::Job::STOPPING,
                            .desired_state = v1::Job::DESIRED_STOP,
                            .reason = "limits.max_run_time is over",
                            .actor = "reconciler"},
                           &record);
  });
  // One that cannot be stored (a full disk) is tried again in the next round, not at once.
  if (!stopped.ok()) return spdlog::error("job={} {}", job_id, std::string(stopped.message()));
  Poke(job_id);
}

void Reconciler::BeginScan(const JobRecord& record, Active& active) {
  RunScanRequest request{.run_dir = active.ref.run_dir, .job = record.job.name()};
  const auto& worker_exit = active.observation->worker_exit;
  request.check_final = worker_exit.has_value() && worker_exit->end() == v1::Attempt::COMPLETED;
  request.output_path = record.job.config().output().path();
  absl::Status read = store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(db, JobId(record.job.name()), /*with_deleted=*/true));
    for (const CheckpointRow& row : rows) {
      if (row.checkpoint.verified())
        request.verified_ids.insert(CheckpointId(row.checkpoint.name()));
    }
    return absl::OkStatus();
  });
  if (!read.ok()) return;  // tried again in the next round
  // What its worker says is damaged is looked at here, too: an I/O error is no damage.
  if (SaysDamaged(*active.observation)) {
    request.verified_ids.erase(CheckpointId(record.ledger.resume_name()));
  }
  active.scan_started = true;
  disk_.Post([this, request, slot = active.slot, job = record.job.name()] {
    RunScan scan = ScanRun(request);
    {
      absl::MutexLock lock(&slot->mutex);
      slot->scan = std::move(scan);
    }
    Poke(job);
  });
}

void Reconciler::TakeScan(const JobRecord& record, Active& active, absl::Time now) {
  if (active.scan.has_value()) return;
  {
    absl::MutexLock lock(&active.slot->mutex);
    active.scan = std::exchange(active.slot->scan, std::nullopt);
  }
  if (!active.scan.has_value() || active.scan->status.ok()) return;
  const absl::Status why = active.scan->status;
  const std::string job_id = JobId(record.job.name());
  if (IsDropped(record.job)) {
    // Its end does not depend on what is there: as if nothing had been found.
    spdlog::warn("job={} is dropped without a look at its checkpoints: {}", job_id,
                 std::string(why.message()));
    active.scan = RunScan{};
    return;
  }
  active.scan.reset();
  active.scan_started = false;
  active.next_scan = now + ScanDelay(++active.scan_failures);
  spdlog::error("job={} cannot read its checkpoints, tried again in {} s: {}", job_id,
                absl::ToInt64Seconds(active.next_scan - now), std::string(why.message()));
  if (active.scan_failures == 1) ReportUnreadable(job_id, why);
}

bool Reconciler::Finish(const std::string& job_id, Active& active) {
  CloseAttemptRequest request{.job_id = job_id,
                              .attempt = active.ref.attempt,
                              .observation = &*active.observation,
                              .scan = &*active.scan,
                              .had_read_errors = active.scan_failures > 0,
                              .backoff = options_.backoff,
                              .unit_random = absl::Uniform(random_, 0.0, 1.0)};
  if (active.observation->info.has_value()) {
    request.boot_changed = active.observation->info->shim().boot_id() != options_.boot_id;
  }
  JobRecord closed;
  absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(closed, CloseAttempt(t, request));
    return absl::OkStatus();
  });
  if (!stored.ok()) {
    spdlog::error("job={} cannot close attempt {}: {}", job_id, active.ref.attempt,
                  std::string(stored.message()));
    return false;
  }
  spdlog::info("job={} attempt={} closed: {}", job_id, active.ref.attempt,
               StateName(closed.job.state()));
  absl::Status left = executor_.Shutdown(active.ref);
  if (!left.ok()) spdlog::warn("job={} shim: {}", job_id, std::string(left.message()));
  ingester_.Remove(active.ref);
  activity_.Forget(active.ref.job);
  devices_.Release(active.ref.job);
  housekeeping_.Retain(job_id);
  next_queue_check_ = absl::InfinitePast();
  return true;
}

void Reconciler::Relaunch(const JobRecord& record, Active& active) {
  std::optional<v1::Checkpoint> resume;
  absl::Status read = store_.Read([&](Connection& db) -> absl::Status {
    const std::string id = CheckpointId(record.ledger.resume_name());
    if (id.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(db, JobId(record.job.name()), id));
    if (row) resume = row->checkpoint;
    return absl::OkStatus();
  });
  ++active.launches;
  // What was seen before the launch says nothing about it.
  active.observation.reset();
  active.observed_at = absl::InfinitePast();
  if (read.ok()) read = executor_.Launch(MakeSpec(record, resume, options_.launch));
  if (!read.ok()) {
    spdlog::error("job={} attempt={} cannot be launched: {}", JobId(record.job.name()),
                  active.ref.attempt, std::string(read.message()));
  }
}

}  // namespace trainerd::server
