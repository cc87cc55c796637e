// SPDX-License-Identifier: Apache-2.0
// One open attempt: its steps in each phase of tracked_attempt.h.
#include <algorithm>
#include <utility>
#include <vector>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/ledger/transition.h"
#include "server/reconcile/reconciler.h"
#include "server/reconcile/requeue.h"
#include "server/store/rows/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kDiskEvery = absl::Seconds(10);
constexpr absl::Duration kKillAgain = absl::Seconds(2);

// The end of the job does not depend on what is on the disk.
bool IsDiscarded(const v1::Job& job) {
  return job.state() == v1::Job::STOPPING && job.desired_state() >= v1::Job::DESIRED_DISCARD;
}

}  // namespace

void Reconciler::StepAttempt(const std::string& job_id, TrackedAttempt& attempt, bool poked,
                             absl::Time now) {
  const absl::StatusOr<JobRecord> record =
      store_.Read([&](Connection& db) { return LoadJob(db, job_id); });
  if (!record.ok()) {
    spdlog::error("job={} cannot be read: {}", job_id, std::string(record.status().message()));
    return;
  }
  Maintain(*record, attempt, now);
  if (attempt.In<Running>() != nullptr && !DrainAttempt(*record, now))
    StepRunning(*record, attempt, poked, now);
  if (attempt.In<Ending>() != nullptr && attempt.ingesting) {
    ingester_.MarkEnding(attempt.ref());
    attempt.BeginDraining();
  }
  if (attempt.In<Draining>() != nullptr && ingester_.IsDrained(attempt.ref())) {
    attempt.BeginScanning();
  }
  if (attempt.In<Scanning>() != nullptr) StepScanning(*record, attempt, now);
  if (attempt.In<Closing>() != nullptr && StepClosing(job_id, attempt, now)) {
    attempts_.erase(job_id);
  }
}

void Reconciler::Maintain(const JobRecord& record, TrackedAttempt& attempt, absl::Time now) {
  const std::string job_id = JobId(record.job.name());
  Ingest(attempt);
  if (attempt.retained_for != record.job.latest_checkpoint()) {
    attempt.retained_for = record.job.latest_checkpoint();
    housekeeping_.Retain(job_id);
  }
  if (now >= attempt.next_disk_check) {
    attempt.next_disk_check = now + kDiskEvery;
    housekeeping_.CheckDisk(job_id);
  }
}

void Reconciler::Ingest(TrackedAttempt& attempt) {
  if (attempt.ingesting) return;
  absl::Status added = ingester_.Add(attempt.ref());
  attempt.ingesting = added.ok();
  // Repeated in every round: without it the attempt would never be closed.
  if (!added.ok()) {
    spdlog::error("job={} attempt={} cannot read the spool yet: {}", JobId(attempt.ref().job),
                  attempt.ref().attempt, std::string(added.message()));
  }
}

void Reconciler::StepRunning(const JobRecord& record, TrackedAttempt& attempt, bool poked,
                             absl::Time now) {
  Running& running = *attempt.In<Running>();
  Observe(attempt.ref(), running, poked, now);
  if (!running.observation.has_value()) return;
  const DecideInput input = InputFor(record, running, now);
  const Decision decision = Decide(input);
  ShowConditions(record, decision);
  if (decision.relaunch) return Relaunch(record, attempt);
  if (decision.stop_for_limit) StopForLimit(JobId(record.job.name()));
  if (decision.end_time_slice) EndTimeSliceOf(JobId(record.job.name()));
  if (decision.signal == internal::CHECKPOINT) {
    // Until the result is known, nothing is delivered again.
    if (std::exchange(running.checkpoint_in_delivery, input.checkpoint_request) !=
        input.checkpoint_request) {
      running.probe->RequestDelivery(internal::CHECKPOINT, absl::ZeroDuration());
    }
  } else if (decision.signal.has_value()) {
    running.probe->RequestDelivery(*decision.signal, decision.signal_grace);
  }
  if (decision.kill_by_identity) Kill(attempt.ref(), running, now);
  if (decision.begin_ending) attempt.BeginEnding();
}

void Reconciler::Observe(const AttemptRef& ref, Running& running, bool poked, absl::Time now) {
  const std::optional<AttemptProbe::Delivery> delivery = running.probe->TakeDelivery();
  if (delivery.has_value() && running.Record(*delivery, now)) {
    spdlog::warn("job={} attempt={} cannot deliver {}: {}", JobId(ref.job), ref.attempt,
                 internal::RequestedAction_Name(delivery->action),
                 std::string(delivery->status.message()));
  }
  if (poked || now >= running.observation_requested_at + running.ObserveEvery()) {
    running.observation_requested_at = now;
    running.probe->RequestObservation();
  }
  std::optional<Observation> newest = running.probe->TakeObservation();
  if (newest.has_value() && running.Record(*std::move(newest), now)) {
    spdlog::warn("job={} attempt={} shim does not answer: {}", JobId(ref.job), ref.attempt,
                 running.observation->detail);
  }
}

bool Reconciler::IsFromOtherBoot(const Observation& observation) const {
  return observation.info.has_value() && observation.info->shim().boot_id() != options_.boot_id;
}

DecideInput Reconciler::InputFor(const JobRecord& record, const Running& running,
                                 absl::Time now) const {
  const v1::Job& job = record.job;
  const internal::JobLedger& ledger = record.ledger;
  const Observation& observation = *running.observation;
  DecideInput input{.state = job.state(),
                    .desired_state = job.desired_state(),
                    .observed = observation.kind,
                    .never_started = observation.never_started,
                    .shim_alive = observation.info.has_value() && IsAlive(observation.info->shim()),
                    .boot_changed = IsFromOtherBoot(observation),
                    .now = now};
  if (ledger.has_end_deadline()) input.end_deadline = FromProto(ledger.end_deadline());
  if (ledger.has_end_requested()) input.end_requested = FromProto(ledger.end_requested());
  input.unknown_since = running.unknown_since;
  input.stop_grace = FromProto(job.config().limits().stop_grace());
  const absl::Duration limit = FromProto(job.config().limits().max_run_time());
  if (limit > absl::ZeroDuration() && ledger.has_running_since()) {
    const absl::Duration ran =
        absl::Seconds(ledger.run_seconds()) + (now - FromProto(ledger.running_since()));
    input.run_time_exceeded = ran > limit;
  }
  const absl::Duration slice = FromProto(job.config().limits().max_attempt_time());
  input.attempt_time_exceeded = slice > absl::ZeroDuration() && ledger.has_attempt_since() &&
                                now - FromProto(ledger.attempt_since()) > slice;
  // A worker that waits for space makes no steps.
  input.stalled = activity_.IsStalled(job.name(), now) && !WaitsForCheckpointSpace(job);
  input.signalled = running.delivered;
  input.signalled_at = running.delivered_at;
  input.launches = running.launches;
  if (ledger.has_checkpoint_request()) input.checkpoint_request = ledger.checkpoint_requests();
  input.checkpoint_delivered = running.checkpoint_delivered;
  return input;
}

void Reconciler::ShowConditions(const JobRecord& record, const Decision& decision) {
  const bool lost_shown = IsConditionActive(record.job, "ControlLost");
  const bool stalled_shown = IsConditionActive(record.job, "Stalled");
  // The ingester clears Stalled when it reads the next step.
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
    *record.ledger.mutable_end_requested() = ToProto(t.steady_now());
    *record.ledger.mutable_end_deadline() =
        ToProto(t.steady_now() + FromProto(record.job.config().limits().stop_grace()));
    return ApplyTransition(t,
                           {.to = v1::Job::STOPPING,
                            .desired_state = v1::Job::DESIRED_STOP,
                            .reason = "limits.max_run_time is over",
                            .actor = "reconciler"},
                           &record);
  });
  // A transition that cannot be stored (a full disk) is repeated in the next round, not at once.
  if (!stopped.ok()) return spdlog::error("job={} {}", job_id, std::string(stopped.message()));
  Poke(job_id);
}

void Reconciler::EndTimeSliceOf(const std::string& job_id) {
  bool ends = false;
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(ends, EndTimeSlice(t, job_id));
    return absl::OkStatus();
  });
  // Repeated in the next round.
  if (!stored.ok()) return spdlog::error("job={} {}", job_id, std::string(stored.message()));
  if (ends) Poke(job_id);
}

void Reconciler::Kill(const AttemptRef& ref, Running& running, absl::Time now) {
  if (now < running.killed_at + kKillAgain) return;
  running.killed_at = now;
  spdlog::warn("job={} attempt={} is killed by process identity", JobId(ref.job), ref.attempt);
  absl::Status killed = executor_.KillByIdentity(ref);
  if (!killed.ok()) {
    spdlog::error("job={} attempt={} cannot be killed: {}", JobId(ref.job), ref.attempt,
                  std::string(killed.message()));
  }
}

void Reconciler::Relaunch(const JobRecord& record, TrackedAttempt& attempt) {
  std::optional<v1::Checkpoint> resume;
  absl::Status launched = store_.Read([&](Connection& db) -> absl::Status {
    const std::string id = CheckpointId(record.ledger.resume_name());
    if (id.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(db, JobId(record.job.name()), id));
    if (row) resume = row->checkpoint;
    return absl::OkStatus();
  });
  if (launched.ok()) launched = executor_.Launch(MakeSpec(record, resume, options_.launch));
  attempt.RecordLaunch(MakeProbe(attempt.ref()));
  if (!launched.ok()) {
    spdlog::error("job={} attempt={} cannot be launched: {}", JobId(record.job.name()),
                  attempt.ref().attempt, std::string(launched.message()));
  }
}

void Reconciler::StepScanning(const JobRecord& record, TrackedAttempt& attempt, absl::Time now) {
  Scanning& scanning = *attempt.In<Scanning>();
  const bool discarded = IsDiscarded(record.job);
  if (scanning.slot == nullptr && (now >= scanning.next_scan || discarded)) {
    BeginScan(record, attempt.ref(), scanning);
  }
  if (scanning.slot == nullptr) return;
  std::optional<RunScan> scan;
  {
    absl::MutexLock lock(&scanning.slot->mutex);
    scan = std::exchange(scanning.slot->scan, std::nullopt);
  }
  if (!scan.has_value()) return;
  const absl::Status status = scan->status;
  attempt.TakeScan(*std::move(scan), discarded, now);
  if (status.ok()) return;
  const std::string job_id = JobId(record.job.name());
  if (discarded) {
    spdlog::warn("job={} is discarded without reading its checkpoints: {}", job_id,
                 std::string(status.message()));
    return;
  }
  const Scanning& again = *attempt.In<Scanning>();
  spdlog::error("job={} cannot read its checkpoints and tries again in {} s: {}", job_id,
                absl::ToInt64Seconds(again.next_scan - now), std::string(status.message()));
  if (again.failures == 1) ReportUnreadable(job_id, status);
}

void Reconciler::BeginScan(const JobRecord& record, const AttemptRef& ref, Scanning& scanning) {
  RunScanRequest request{.run_dir = ref.run_dir, .job = record.job.name()};
  const auto& worker_exit = scanning.end.worker_exit;
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
  if (!read.ok()) return;  // repeated in the next round
  // A checkpoint that the worker reports as damaged is read back again: the worker may have met an
  // I/O error.
  if (ReportsDamaged(scanning.end)) {
    request.verified_ids.erase(CheckpointId(record.ledger.resume_name()));
  }
  scanning.slot = std::make_shared<Scanning::Slot>();
  disk_.Post([this, request, slot = scanning.slot, job = record.job.name()] {
    RunScan scan = ScanRun(request);
    {
      absl::MutexLock lock(&slot->mutex);
      slot->scan = std::move(scan);
    }
    Poke(job);
  });
}

bool Reconciler::StepClosing(const std::string& job_id, TrackedAttempt& attempt, absl::Time now) {
  const Closing& closing = *attempt.In<Closing>();
  if (now < closing.next_try) return false;
  const CloseAttemptRequest request{.job_id = job_id,
                                    .attempt = attempt.ref().attempt,
                                    .observation = &closing.end,
                                    .scan = &closing.scan,
                                    .had_read_errors = closing.had_read_errors,
                                    .boot_changed = IsFromOtherBoot(closing.end),
                                    .backoff = options_.backoff,
                                    .unit_random = absl::Uniform(random_, 0.0, 1.0)};
  JobRecord closed;
  absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(closed, CloseAttempt(t, request));
    return absl::OkStatus();
  });
  if (!stored.ok()) {
    spdlog::error("job={} attempt={} cannot be closed yet: {}", job_id, attempt.ref().attempt,
                  std::string(stored.message()));
    attempt.RecordCloseFailure(now);
    return false;
  }
  spdlog::info("job={} attempt={} closed state={}", job_id, attempt.ref().attempt,
               StateName(closed.job.state()));
  if (closing.end.worker_exit.has_value() &&
      closing.end.worker_exit->error().cause() == v1::JobError::HARDWARE) {
    options_.query_devices();
  }
  Forget(job_id, attempt.ref());
  return true;
}

void Reconciler::Forget(const std::string& job_id, const AttemptRef& ref) {
  ingester_.Remove(ref);
  activity_.Forget(ref.job);
  devices_.Release(ref.job);
  housekeeping_.Retain(job_id);
  next_queue_check_ = absl::InfinitePast();
}

}  // namespace trainerd::server
