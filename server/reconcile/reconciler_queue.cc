// SPDX-License-Identifier: Apache-2.0
// Queued jobs: from which checkpoint a job resumes, its start, and why others cannot start. Which
// job is next is in reconciler_schedule.cc, waits that end by themselves in reconciler_waits.cc.
#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/disk_use.h"
#include "server/ledger/base_checkpoint.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/reconcile/queue_changes.h"
#include "server/reconcile/reconciler.h"
#include "server/store/rows/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kProgramsEvery = absl::Seconds(5);
// Number of jobs at the head of the queue that are marked with the reason why no job starts.
constexpr int kMarkedJobs = 16;
constexpr int kFailedJobs = 10'000;

v1::JobError DeviceError(const std::string& device, const std::vector<v1::Device>& devices) {
  std::vector<std::string> names;
  for (const v1::Device& d : devices) names.push_back(d.name());
  v1::JobError error;
  error.set_code("DEVICE_NOT_FOUND");
  error.set_cause(v1::JobError::USER);
  error.set_message(absl::StrCat("resources.device: this machine has no device \"", device,
                                 "\". Set it to auto or to one of ", absl::StrJoin(names, ", ")));
  return error;
}

void Log(const absl::Status& status, const std::string& job_id) {
  if (!status.ok()) spdlog::error("job={} {}", job_id, std::string(status.message()));
}

std::optional<v1::Checkpoint> FindVerified(const std::vector<CheckpointRow>& rows,
                                           const std::string& name) {
  for (const CheckpointRow& row : rows) {
    if (row.checkpoint.name() == name && row.checkpoint.verified()) return row.checkpoint;
  }
  return std::nullopt;
}

}  // namespace

bool Reconciler::CheckPrograms(absl::Time now) {
  std::string why = devices_.problem();
  for (const std::string& program : {options_.launch.worker_path, options_.shim_path}) {
    if (!options_.is_executable(program)) {
      why = absl::StrCat(
          "the program ", program,
          " is missing or not executable; install it, or set its path in trainerd.yaml");
    }
  }
  if (!why.empty()) {
    next_queue_check_ = now + kProgramsEvery;
    MarkUnreachable(why);
    return false;
  }
  if (unreachable_why_ != "") ClearUnreachable();
  return devices_.known();
}

void Reconciler::MarkUnreachable(const std::string& why) {
  if (why != unreachable_why_) spdlog::error("jobs cannot start: {}", why);
  unreachable_why_ = why;
  const absl::StatusOr<std::vector<std::string>> ids = store_.Read([](Connection& db) {
    return ListWaiting(db, v1::Job::RESOURCES, absl::InfiniteFuture(), kMarkedJobs);
  });
  if (!ids.ok()) return Log(ids.status(), "-");
  for (const std::string& id : *ids) {
    Log(store_.Change([&](Transaction& t) {
      return ChangeWait(
          t, id, v1::Job::EXECUTOR_UNREACHABLE,
          ConditionUpdate{.type = "Degraded", .active = true, .reason = "EXECUTOR", .message = why},
          why);
    }),
        id);
  }
}

void Reconciler::ClearUnreachable() {
  const absl::StatusOr<std::vector<std::string>> ids = store_.Read([](Connection& db) {
    return ListWaiting(db, v1::Job::EXECUTOR_UNREACHABLE, absl::InfiniteFuture(), kFailedJobs);
  });
  if (!ids.ok()) return Log(ids.status(), "-");
  for (const std::string& id : *ids) {
    absl::Status stored = store_.Change([&](Transaction& t) {
      return ChangeWait(t, id, v1::Job::RESOURCES,
                        ConditionUpdate{.type = "Degraded", .active = false, .reason = "EXECUTOR"},
                        "jobs can start again");
    });
    if (!stored.ok()) return Log(stored, id);  // repeated in the next round
  }
  unreachable_why_.clear();
}

void Reconciler::FailUnknownDevices() {
  if (!devices_.known()) return;
  std::vector<std::string> requested;
  std::vector<std::pair<std::string, std::string>> failed;  // job, device
  absl::Status read = store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(requested, QueuedDevices(db));
    for (const std::string& device : requested) {
      if (device == "auto" || devices_.Find(device).has_value()) continue;
      ASSIGN_OR_RETURN(
          std::vector<QueueEntry> entries,
          ListQueue(db, {.device = device, .now = absl::InfiniteFuture()}, kFailedJobs));
      for (const QueueEntry& entry : entries) failed.emplace_back(entry.id, device);
    }
    return absl::OkStatus();
  });
  Log(read, "-");
  devices_checked_ = read.ok();
  for (const auto& [id, device] : failed) {
    const v1::JobError error = DeviceError(device, devices_.List());
    absl::Status stored = store_.Change(
        [&, id = id](Transaction& t) { return FailJob(t, id, error, "no such device"); });
    Log(stored, id);
    devices_checked_ &= stored.ok();  // repeated in the next round
  }
}

absl::StatusOr<Reconciler::ResumeChoice> Reconciler::ChooseResumePoint(const std::string& job_id) {
  while (true) {
    JobRecord record;
    std::vector<CheckpointRow> rows;
    RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
      ASSIGN_OR_RETURN(record, LoadJob(db, job_id));
      ASSIGN_OR_RETURN(rows, ListCheckpointRows(db, job_id, /*with_deleted=*/false));
      return absl::OkStatus();
    }));
    const std::string& resume_from = record.ledger.resume_from();
    std::optional<v1::Checkpoint> point =
        resume_from.empty() ? ResumePoint(rows) : FindVerified(rows, resume_from);
    if (!point.has_value()) {
      // Derived from the rows, not from this loop: a daemon that died in its middle must not start
      // the job from the beginning.
      const bool had_one = std::any_of(rows.begin(), rows.end(), [](const CheckpointRow& row) {
        return !row.checkpoint.superseded();
      });
      return ResumeChoice{.lost = had_one,
                          .resume_from = resume_from,
                          .space = SpaceToStart(std::nullopt, record.ledger)};
    }
    absl::Status good = QuickCheckCheckpoint(*point);
    if (good.ok()) {
      return ResumeChoice{
          .point = point, .resume_from = resume_from, .space = SpaceToStart(point, record.ledger)};
    }
    // Only a conclusive read error marks a checkpoint corrupt. After any other one (no descriptors,
    // an I/O error, a newer format) the job waits.
    if (!absl::IsNotFound(good) && !absl::IsDataLoss(good)) {
      return ResumeChoice{.unreadable = Annotate(good, "checkpoint ", point->name())};
    }
    spdlog::error("job={} checkpoint {} cannot be resumed from: {}", job_id, point->name(),
                  std::string(good.message()));
    RETURN_IF_ERROR(store_.Change(
        [&](Transaction& t) { return MarkCorruptInJob(t, *point, std::string(good.message())); }));
  }
}

void Reconciler::HoldWithoutStart(const std::string& job_id, const std::string& resume_from) {
  Log(store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
    if (record.job.state() != v1::Job::QUEUED || record.ledger.resume_from() != resume_from)
      return absl::OkStatus();
    record.ledger.clear_resume_from();
    v1::Notice notice;
    notice.set_level(v1::Notice::ERROR);
    notice.set_code("CHECKPOINT_DAMAGED");
    notice.set_message(absl::StrCat(
        "the job cannot resume from ", resume_from,
        ", which is damaged, and is held; `trainctl resume ", job_id,
        "` resumes from its newest verified checkpoint, --from-checkpoint from another"));
    RETURN_IF_ERROR(AppendNotices(t, record.job.name(), {notice}));
    return ApplyTransition(t,
                           {.to = v1::Job::QUEUED,
                            .desired_state = v1::Job::DESIRED_PAUSE,
                            .wait_reason = v1::Job::HELD,
                            .reason = absl::StrCat(resume_from, " is damaged"),
                            .actor = "scheduler"},
                           &record);
  }),
      job_id);
}

void Reconciler::StartJob(const std::string& job_id, const std::vector<std::string>& devices) {
  absl::StatusOr<ResumeChoice> choice = ChooseResumePoint(job_id);
  if (!choice.ok()) return Log(choice.status(), job_id);
  if (!choice->unreadable.ok()) return ReportUnreadable(job_id, choice->unreadable);
  if (!choice->resume_from.empty() && !choice->point.has_value())
    return HoldWithoutStart(job_id, choice->resume_from);
  if (!choice->point.has_value() && !choice->lost && !ResolveStart(job_id)) return;
  unreadable_.erase(job_id);
  if (choice->lost) {
    v1::JobError error;
    error.set_code("CHECKPOINTS_LOST");
    error.set_cause(v1::JobError::STORAGE);
    error.set_message(
        "none of the job's checkpoints can be read back; submit the job again to start from the "
        "beginning");
    return Log(store_.Change([&](Transaction& t) {
      return FailJob(t, job_id, error, "all checkpoints are damaged");
    }),
               job_id);
  }
  const std::optional<v1::Checkpoint>& resume = choice->point;
  if (WaitsForSpace(job_id, choice->space)) return;
  JobRecord record;
  absl::Status opened = store_.Change([&](Transaction& t) -> absl::Status {
    // Drain sets it in a change: none comes between this and the attempt.
    if (drain_.in_force()) return absl::AbortedError("the daemon drains");
    ASSIGN_OR_RETURN(record, OpenAttempt(t, {.job_id = job_id,
                                             .devices = devices,
                                             .resume = resume,
                                             .resume_from = choice->resume_from}));
    return absl::OkStatus();
  });
  if (absl::IsAborted(opened)) return;
  if (!opened.ok()) return Log(opened, job_id);
  const AttemptRef ref = {
      .job = record.job.name(), .attempt = record.job.attempt(), .run_dir = record.job.run_dir()};
  TrackedAttempt attempt(ref, MakeProbe(ref), /*launches=*/1);
  devices_.Hold(devices, record.job.name());
  activity_.Start(record.job.name(), options_.clock());
  Ingest(attempt);
  ReportFallback(job_id, devices);
  absl::Status launched = executor_.Launch(MakeSpec(record, resume, options_.launch));
  if (launched.ok()) {
    spdlog::info("job={} attempt={} devices={} launched", job_id, record.job.attempt(),
                 absl::StrJoin(devices, ","));
  } else {
    // The attempt is observed as never started. It is launched again up to the limit of decide.cc,
    // then closed without counting as a failure of the job.
    spdlog::error("job={} attempt={} cannot be launched: {}", job_id, record.job.attempt(),
                  std::string(launched.message()));
  }
  attempts_.insert_or_assign(job_id, std::move(attempt));
}

Reconciler::SpaceNeed Reconciler::SpaceToStart(const std::optional<v1::Checkpoint>& resume,
                                               const internal::JobLedger& ledger) {
  if (resume.has_value())
    return {SpaceForCheckpoint(resume->size_bytes()), "1.2 times its last checkpoint"};
  return {ledger.needed_bytes(), "for its first checkpoint"};
}

std::optional<std::string> Reconciler::MissingSpace(const SpaceNeed& need) const {
  const absl::StatusOr<int64_t> free = options_.free_bytes(options_.runs_dir);
  if (!free.ok() || *free >= need.bytes) return std::nullopt;
  return absl::StrCat("the job needs ", FormatBytes(need.bytes), " in ", options_.runs_dir, " (",
                      need.why, "), ", FormatBytes(*free),
                      " are free; free some space, and the job starts by itself");
}

bool Reconciler::WaitsForSpace(const std::string& job_id, const SpaceNeed& need) {
  const std::optional<std::string> missing = MissingSpace(need);
  if (!missing.has_value()) return false;
  const absl::Status stored = store_.Change([&](Transaction& t) {
    return ChangeWait(t, job_id, v1::Job::DISK, LacksSpace(*missing), *missing);
  });
  if (stored.ok()) spdlog::warn("job={} waits for space: {}", job_id, *missing);
  Log(stored, job_id);
  return true;
}

void Reconciler::ReportUnreadable(const std::string& job_id, const absl::Status& why) {
  if (unreadable_.count(job_id) > 0) return;
  spdlog::error("job={} {}", job_id, std::string(why.message()));
  absl::Status reported = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
    return ShowUnreadable(t, why, &record).status();
  });
  if (reported.ok()) unreadable_.insert(job_id);
  Log(reported, job_id);
}

void Reconciler::ReportFallback(const std::string& job_id,
                                const std::vector<std::string>& devices) {
  if (devices != std::vector<std::string>{"cpu"}) return;
  for (const v1::Device& other : devices_.List()) {
    if (other.name() == "cpu" || other.unavailable().empty()) continue;
    Log(store_.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
      if (record.job.config().resources().device() != "auto") return absl::OkStatus();
      v1::Event event;
      event.set_job(record.job.name());
      event.set_attempt(record.job.attempt());
      event.mutable_notice()->set_level(v1::Notice::WARNING);
      event.mutable_notice()->set_code("DEVICE_FALLBACK");
      event.mutable_notice()->set_message(
          absl::StrCat("resources.device: auto runs on cpu because ", other.name(),
                       " cannot be used: ", other.unavailable()));
      return t.Append(std::move(event));
    }),
        job_id);
    return;
  }
}

}  // namespace trainerd::server
