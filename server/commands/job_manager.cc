// SPDX-License-Identifier: Apache-2.0
#include "server/commands/job_manager.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/rules/config_limits.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "server/commands/checkpoints/checkpoint_changes.h"
#include "server/commands/queries/explain.h"
#include "server/commands/queries/list_jobs.h"
#include "server/commands/request.h"
#include "server/commands/update_job.h"
#include "server/events/cursor.h"
#include "server/ledger/base_checkpoint.h"
#include "server/ledger/checkpoints/load_checkpoint.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/transition.h"
#include "server/store/cut_message.h"
#include "server/store/errors.h"
#include "server/store/rows/dependency_rows.h"
#include "server/store/rows/event_rows.h"

namespace trainerd::server {
namespace {

// Beside a configuration, it must fit in a message of 4 MiB.
constexpr size_t kMaxReportBytes = size_t{1} << 20;
constexpr absl::Duration kQueueFullRetry = absl::Seconds(60);

constexpr absl::Duration kMaxGrace = absl::Hours(24);

// PauseRequest.grace and StopRequest.grace. Errors: InvalidArgument.
template <typename Request>
absl::StatusOr<std::optional<absl::Duration>> GraceOf(const Request& request) {
  if (!request.has_grace()) return std::optional<absl::Duration>();
  ASSIGN_OR_RETURN(const absl::Duration grace,
                   RequestedDuration("grace", request.grace(), kMaxGrace));
  return std::optional(grace);
}

// When the attempt of this job must have ended: `before` is the desired state that the command
// replaces, `grace` the one that it gives. A later command never extends the deadline; it shortens
// it if it is more severe or gives a grace.
void SetDeadlines(const v1::Job& job, v1::Job::DesiredState before,
                  std::optional<absl::Duration> grace, absl::Time now,
                  internal::JobLedger* ledger) {
  const bool force = job.desired_state() == v1::Job::DESIRED_FORCE;
  if (force) grace = kForceGrace;
  const bool more_severe = job.desired_state() > before;
  if (ledger->has_end_deadline() && !more_severe && !grace.has_value()) return;
  if (!ledger->has_end_deadline() || more_severe) *ledger->mutable_end_requested() = ToProto(now);
  const absl::Time deadline = now + grace.value_or(FromProto(job.config().limits().stop_grace()));
  if (ledger->has_end_deadline() && FromProto(ledger->end_deadline()) <= deadline) return;
  *ledger->mutable_end_deadline() = ToProto(deadline);
  ledger->clear_end_grace();
  if (grace.has_value()) *ledger->mutable_end_grace() = ToProto(*grace);
}

// What the state table says about `command` for this job. Errors: FailedPrecondition with reason
// JOB_TERMINAL or JOB_STATE.
absl::StatusOr<CommandEffect> EffectOf(JobCommand command, const std::string& method,
                                       const JobRecord& record) {
  const v1::Job& job = record.job;
  absl::StatusOr<CommandEffect> effect = ApplyCommand(
      command,
      {.state = job.state(),
       .desired_state = job.desired_state(),
       .wait_reason = job.wait_reason(),
       .has_verified_checkpoint = !job.latest_checkpoint().empty(),
       .save_final_begun = record.ledger.save_final_begun() && !record.ledger.limit_reached(),
       .awaiting_evaluation = record.ledger.awaiting_evaluation()});
  if (effect.ok()) return effect;
  return ErrorWithReason(effect.status().code(),
                         IsTerminal(job.state()) ? "JOB_TERMINAL" : "JOB_STATE",
                         std::string(effect.status().message()),
                         {{"state", StateName(job.state())}, {"command", method}});
}

// Records that the job names its uploads, so that they are kept. One can have been removed since it
// was checked.
absl::Status StoreUploads(Transaction& t, const PreparedJob& prepared) {
  for (const std::string& sha256 : prepared.uploads) {
    ASSIGN_OR_RETURN(const std::optional<FileRow> row, FindFile(t.db(), sha256));
    if (!row.has_value() || !row->complete) return NoSuchFile(sha256);
    RETURN_IF_ERROR(StoreFileUse(t.db(), JobId(prepared.job.name()), sha256, t.now()));
  }
  return absl::OkStatus();
}

}  // namespace

JobManager::JobManager(Options options, Store& store, const DeviceTable& devices)
    : options_(std::move(options)),
      store_(store),
      devices_(devices),
      inspections_(options_.inspections),
      queued_at_most_(options_.max_queued_jobs) {}

absl::StatusOr<v1::SubmitJobResponse> JobManager::Submit(
    const v1::SubmitJobRequest& request, const Caller& caller,
    const std::function<bool()>& is_cancelled) {
  RETURN_IF_ERROR(CheckRequest(request));
  // Before it is copied.
  std::vector<ConfigViolation> violations;
  CheckConfigSize(request.config(), &violations);
  RETURN_IF_ERROR(ViolationsToStatus(violations));
  if (request.validate_only()) return Validate(request, caller, is_cancelled);
  const CommandCall call = MakeCall("SubmitJob", request, caller);
  v1::SubmitJobResponse response;
  // A repeated call gets its reply although its files or its base may no longer exist.
  ASSIGN_OR_RETURN(const bool repeated, store_.Read([&](Connection& db) {
    return FindEarlierReply(db, call, &response);
  }));
  if (repeated) return response;
  ASSIGN_OR_RETURN(const PreparedJob prepared, Prepare(request, caller));
  RETURN_IF_ERROR(RunCommand(
      store_, call, JobId(prepared.job.name()),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(*response.mutable_job(), InsertJob(t, prepared));
        return absl::OkStatus();
      },
      &response));
  options_.poke(response.job().name());
  return response;
}

absl::StatusOr<PreparedJob> JobManager::Prepare(const v1::SubmitJobRequest& request,
                                                const Caller& caller) {
  return PrepareJob(
      {store_, devices_, options_.paths, options_.notify, options_.runs_dir, options_.files},
      request, caller, options_.clock());
}

absl::StatusOr<v1::Job> JobManager::InsertJob(Transaction& t, const PreparedJob& prepared) {
  JobRecord record{.job = prepared.job, .ledger = prepared.ledger};
  ASSIGN_OR_RETURN(const bool exists, JobExists(t.db(), JobId(record.job.name())));
  if (exists) {
    return ErrorWithReason(absl::StatusCode::kAlreadyExists, "JOB_EXISTS",
                           absl::StrCat(record.job.name(), " already exists; use another job_id"));
  }
  RETURN_IF_ERROR(CheckQueueLength(t.db()));
  RETURN_IF_ERROR(CheckOwnersQuota(t.db(), record.job.owner()));
  // Retention may have removed it since the job was prepared.
  if (const std::string& base = record.ledger.init_name(); !base.empty())
    RETURN_IF_ERROR(LoadCheckpoint(t.db(), base).status());
  ASSIGN_OR_RETURN(const std::string conflict, OutputConflict(t.db(), prepared));
  if (!conflict.empty()) return BadField("output.path", conflict);
  *record.job.mutable_create_time() = ToProto(t.now());
  RETURN_IF_ERROR(AddDependencies(t, &record));
  const bool suspended = record.job.config().suspended();
  RETURN_IF_ERROR(
      ApplyTransition(t,
                      {.to = v1::Job::QUEUED,
                       .desired_state = suspended ? v1::Job::DESIRED_PAUSE : v1::Job::DESIRED_RUN,
                       .wait_reason = suspended ? v1::Job::HELD : v1::Job::RESOURCES,
                       .reason = suspended ? "submitted with suspended: true" : "submitted",
                       .actor = "user"},
                      &record));
  RETURN_IF_ERROR(AppendNotices(t, record.job.name(), prepared.notices));
  RETURN_IF_ERROR(StoreUploads(t, prepared));
  record.job.set_cursor(FormatCursor(store_.database_id(), t.last_seq()));
  return std::move(record.job);
}

absl::Status JobManager::CheckQueueLength(Connection& db) {
  // A count takes time when the queue is long, so jobs are counted only when the submissions since
  // the last count could have filled the queue.
  if (++queued_at_most_ <= options_.max_queued_jobs) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t queued, CountJobs(db, v1::Job::QUEUED));
  queued_at_most_ = queued + 1;
  if (queued < options_.max_queued_jobs) return absl::OkStatus();
  return WithRetry(
      ErrorWithReason(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                      absl::StrCat(Counted(queued, "job"), queued == 1 ? " is" : " are",
                                   " queued, which is the limit (max_queued_jobs); submit again "
                                   "when some have ended")),
      kQueueFullRetry);
}

absl::Status JobManager::CheckOwnersQuota(Connection& db, const std::string& owner) {
  const int64_t limit = options_.max_queued_jobs_per_owner;
  if (limit == 0) return absl::OkStatus();
  // As in CheckQueueLength.
  int64_t& queued_at_most = queued_at_most_of_.try_emplace(owner, limit).first->second;
  if (++queued_at_most <= limit) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t queued, CountJobsOf(db, v1::Job::QUEUED, owner));
  queued_at_most = queued + 1;
  if (queued < limit) return absl::OkStatus();
  return WithRetry(
      ErrorWithReason(absl::StatusCode::kResourceExhausted, "QUOTA",
                      absl::StrCat(owner, " has ", Counted(queued, "queued job"),
                                   ", which is the limit (quotas.max_queued_jobs_per_owner); "
                                   "submit again when some have started"),
                      {{"owner", owner}, {"limit", absl::StrCat(limit)}}),
      kQueueFullRetry);
}

absl::StatusOr<v1::SubmitJobResponse> JobManager::Validate(
    const v1::SubmitJobRequest& request, const Caller& caller,
    const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(PreparedJob prepared, Prepare(request, caller));
  // trainerd-inspect knows no checkpoint by its name.
  v1::JobConfig config = prepared.job.config();
  if (!prepared.ledger.init_path().empty())
    config.mutable_init_from()->set_checkpoint(prepared.ledger.init_path());
  // There is no checkpoint yet.
  if (StartsFromDependency(config)) config.clear_init_from();
  if (!prepared.uploads.empty()) {
    ReplaceUploads(&config, [&](const UploadPath& upload) {
      return UploadLocation(options_.files->dir(), upload);
    });
  }
  v1::SubmitJobResponse response;
  ASSIGN_OR_RETURN(*response.mutable_report(),
                   inspections_.Run(MessageToYaml(config), is_cancelled));
  CutMessage(kMaxReportBytes, response.mutable_report());
  for (const v1::Notice& notice : prepared.notices) {
    v1::DataReport::Finding* finding = response.mutable_report()->add_findings();
    finding->set_code(notice.code());
    finding->set_count(1);
    finding->set_message(notice.message());
  }
  prepared.job.clear_name();
  prepared.job.clear_run_dir();
  ASSIGN_OR_RETURN(const int64_t last, store_.Read([](Connection& db) { return LastSeq(db); }));
  prepared.job.set_cursor(FormatCursor(store_.database_id(), last));
  *response.mutable_job() = std::move(prepared.job);
  return response;
}

absl::StatusOr<v1::Job> JobManager::Pause(const v1::PauseRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  CommandCall call = MakeCall("Pause", request, caller);
  call.reason = request.reason();
  ASSIGN_OR_RETURN(const std::optional<absl::Duration> grace, GraceOf(request));
  return Apply(JobCommand::kPause, std::move(call), request.name(), request.etag(),
               {.grace = grace});
}

absl::StatusOr<v1::Job> JobManager::Resume(const v1::ResumeRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  return Apply(JobCommand::kResume, MakeCall("Resume", request, caller), request.name(),
               request.etag(), {.before = [&](Transaction& t, JobRecord* record) {
                 return SetResumeFrom(t, request.from_checkpoint(), record);
               }});
}

absl::StatusOr<v1::Job> JobManager::Stop(const v1::StopRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  CommandCall call = MakeCall("Stop", request, caller);
  call.reason = request.reason();
  JobCommand command = JobCommand::kStopGraceful;
  if (request.mode() == v1::StopRequest::DISCARD) command = JobCommand::kStopDiscard;
  if (request.mode() == v1::StopRequest::FORCE) command = JobCommand::kStopForce;
  if (!v1::StopRequest::Mode_IsValid(request.mode())) {
    return BadField("mode", absl::StrCat(static_cast<int>(request.mode()),
                                         " is not a mode that this daemon knows; use GRACEFUL, "
                                         "DISCARD or FORCE"));
  }
  ASSIGN_OR_RETURN(std::optional<absl::Duration> grace, GraceOf(request));
  if (command == JobCommand::kStopForce) grace.reset();
  return Apply(command, std::move(call), request.name(), request.etag(), {.grace = grace});
}

absl::StatusOr<v1::Job> JobManager::Apply(JobCommand command, CommandCall call,
                                          const std::string& name, const std::string& etag,
                                          const CommandExtras& extras) {
  ASSIGN_OR_RETURN(
      v1::Job job,
      ChangeJob(store_, call, name, etag, [&](Transaction& t, JobRecord* record) -> absl::Status {
        ASSIGN_OR_RETURN(const CommandEffect effect, EffectOf(command, call.method, *record));
        if (extras.before) RETURN_IF_ERROR(extras.before(t, record));
        if (!effect.changed && !(extras.grace.has_value() && record->ledger.has_end_deadline()))
          return absl::OkStatus();
        const absl::Time deadline = FromProto(record->ledger.end_deadline());
        if (IsActive(effect.state) && command != JobCommand::kResume) {
          v1::Job desired = record->job;
          desired.set_desired_state(effect.desired_state);
          SetDeadlines(desired, record->job.desired_state(), extras.grace, t.steady_now(),
                       &record->ledger);
        }
        // The command was in effect; only its deadline changes.
        if (!effect.changed) {
          const bool sooner = FromProto(record->ledger.end_deadline()) < deadline;
          return sooner ? StoreJob(t.db(), record) : absl::OkStatus();
        }
        Transition transition{.to = effect.state,
                              .desired_state = effect.desired_state,
                              .wait_reason = effect.wait_reason,
                              .reason = call.reason.empty() ? CommandName(command) : call.reason,
                              .actor = "user"};
        if (record->ledger.awaiting_evaluation() && IsTerminal(effect.state))
          return EndEvaluationWait(t, std::move(transition), record);
        return ApplyTransition(t, std::move(transition), record);
      }));
  options_.poke(job.name());
  // checkpoint.ttl applies from now on. With an attempt, its end does this.
  if (IsTerminal(job.state())) options_.retain(JobId(job.name()));
  return job;
}

absl::StatusOr<v1::Job> JobManager::Update(const v1::UpdateJobRequest& request,
                                           const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  RETURN_IF_ERROR(RequestedJob("job.name", request.job().name()).status());
  ASSIGN_OR_RETURN(const std::set<std::string> paths, CheckUpdate(request));
  CommandCall call = MakeCall("UpdateJob", request, caller);
  call.reason = absl::StrJoin(paths, ", ");
  if (paths.contains("config.notify")) {
    std::vector<ConfigViolation> violations;
    options_.notify.Check(request.job().config(), &violations);
    RETURN_IF_ERROR(ViolationsToStatus(violations));
  }
  std::vector<std::string> changed;
  ASSIGN_OR_RETURN(v1::Job job, ChangeJob(store_, call, request.job().name(), request.job().etag(),
                                          [&](Transaction& t, JobRecord* record) -> absl::Status {
                                            ASSIGN_OR_RETURN(
                                                changed, ApplyUpdate(t, request, paths, record));
                                            return absl::OkStatus();
                                          }));
  options_.poke(job.name());
  const bool retention = std::any_of(changed.begin(), changed.end(), [](const std::string& path) {
    return absl::StartsWith(path, "config.checkpoint.");
  });
  if (retention) options_.retain(JobId(job.name()));
  return job;
}

absl::StatusOr<v1::Job> JobManager::RequestCheckpoint(const v1::RequestCheckpointRequest& request,
                                                      const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(v1::Job job,
                   ChangeJob(store_, MakeCall("RequestCheckpoint", request, caller), request.name(),
                             request.etag(), [&](Transaction& t, JobRecord* record) {
                               return RecordCheckpointRequest(t, request, record);
                             }));
  options_.poke(job.name());
  return job;
}

absl::StatusOr<v1::ListJobsResponse> JobManager::List(const v1::ListJobsRequest& request) {
  return ListJobs(store_, options_.rules.scheduling.priority_aging, request);
}

absl::StatusOr<v1::Explanation> JobManager::Explain(const v1::ExplainJobRequest& request) {
  return ExplainJob(store_, devices_.List(), options_.rules, request.name());
}

absl::StatusOr<v1::Job> JobManager::Delete(const v1::DeleteJobRequest& request,
                                           const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  bool marked = false;
  ASSIGN_OR_RETURN(
      v1::Job job,
      ChangeJob(store_, MakeCall("DeleteJob", request, caller), request.name(), request.etag(),
                [&](Transaction& t, JobRecord* record) -> absl::Status {
                  v1::Job& job = record->job;
                  const std::string id = JobId(job.name());
                  if (!IsTerminal(job.state())) {
                    return ErrorWithReason(
                        absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                        absl::StrCat(job.name(), " is ", StateName(job.state()),
                                     "; stop it first (`trainctl stop ", id, "`)"));
                  }
                  ASSIGN_OR_RETURN(std::vector<std::string> users, JobsBasedOn(t.db(), id));
                  if (!users.empty()) {
                    return ErrorWithReason(
                        absl::StatusCode::kFailedPrecondition, "JOB_IN_USE",
                        absl::StrCat("jobs/", users.front(), " starts from a checkpoint of ",
                                     job.name(), "; delete it after that job has ended"));
                  }
                  ASSIGN_OR_RETURN(users, ListDependents(t.db(), id, /*for_checkpoint=*/false, 1));
                  if (!users.empty()) {
                    return ErrorWithReason(
                        absl::StatusCode::kFailedPrecondition, "JOB_IN_USE",
                        absl::StrCat("jobs/", users.front(), " waits for ", job.name(),
                                     " (depends_on); delete it after that job has started"));
                  }
                  if (job.deleting()) return absl::OkStatus();
                  marked = true;
                  job.set_deleting(true);
                  RETURN_IF_ERROR(StoreJob(t.db(), record));
                  // What is left is cancelled before the files are removed.
                  return CancelEvaluations(t, id).status();
                }));
  if (marked) options_.remove(JobId(job.name()));
  return job;
}

}  // namespace trainerd::server
