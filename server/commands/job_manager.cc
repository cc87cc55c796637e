// SPDX-License-Identifier: Apache-2.0
#include "server/commands/job_manager.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/yaml_to_proto.h"
#include "proto/contract/job/force_grace.h"
#include "server/commands/submit.h"
#include "server/ledger/transition.h"
#include "server/runs/inspect_client.h"
#include "server/store/errors.h"
#include "server/store/event_rows.h"
#include "server/store/job_rows.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxRequestId = 128;
constexpr absl::Duration kQueueFullRetry = absl::Seconds(60);

// The answer that this request_id got before; nullopt when it is new. Errors: AlreadyExists for
// another call.
absl::StatusOr<std::optional<std::string>> EarlierAnswer(Connection& db,
                                                         const std::string& request_id,
                                                         const std::string& method,
                                                         const std::string& body_hash) {
  if (request_id.empty()) return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::optional<IdempotencyRow> row, FindRequest(db, request_id));
  if (!row.has_value()) return std::optional<std::string>();
  if (row->method != method || row->body_hash != body_hash) {
    return ErrorWithReason(
        absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
        absl::StrCat("request_id \"", request_id, "\" was used for another call (", row->method,
                     "); use a new one"));
  }
  return std::optional<std::string>(std::move(row->response));
}

absl::Status CheckRequestId(const std::string& request_id) {
  if (request_id.size() <= kMaxRequestId) return absl::OkStatus();
  return BadField("request_id", absl::StrCat("longer than ", kMaxRequestId, " bytes"));
}

absl::Status CheckEtag(const std::string& etag, const v1::Job& job) {
  if (etag.empty() || etag == job.etag()) return absl::OkStatus();
  return ErrorWithReason(absl::StatusCode::kAborted, "ETAG_CHANGED",
                         absl::StrCat(job.name(), " has changed since it was read; read it again"));
}

bool SavesFinal(const JobRecord& record) {
  return record.ledger.save_final_begun() && !record.ledger.limit_reached();
}

void SetDeadlines(const v1::Job& job, v1::Job::DesiredState before, absl::Time now,
                  internal::JobLedger* ledger) {
  const bool more_severe = job.desired_state() > before;
  if (ledger->has_end_deadline() && !more_severe) return;
  const bool force = job.desired_state() == v1::Job::DESIRED_FORCE;
  *ledger->mutable_end_requested() = ToProto(now);
  absl::Time deadline = now + (force ? kForceGrace : FromProto(job.config().limits().stop_grace()));
  // A later command never gives an attempt more time than it had.
  if (ledger->has_end_deadline()) {
    deadline = std::min(deadline, FromProto(ledger->end_deadline()));
  }
  *ledger->mutable_end_deadline() = ToProto(deadline);
}

absl::StatusOr<v1::Job> NoJob(const std::string& name) {
  return BadField("name", absl::StrCat("\"", name, "\" names no job; give jobs/ID"));
}

}  // namespace

JobManager::JobManager(Options options, Store& store, const DeviceTable& devices)
    : options_(std::move(options)),
      store_(store),
      devices_(devices),
      queued_at_most_(options_.max_queued_jobs) {}

absl::StatusOr<v1::SubmitJobResponse> JobManager::Submit(const v1::SubmitJobRequest& request,
                                                         const std::string& peer) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (request.validate_only()) return Validate(request);
  const std::string hash = request.request_id().empty() ? "" : RequestHash(request);
  v1::SubmitJobResponse response;
  std::optional<std::string> earlier;
  if (!request.request_id().empty()) {
    RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
      ASSIGN_OR_RETURN(earlier, EarlierAnswer(db, request.request_id(), "SubmitJob", hash));
      return absl::OkStatus();
    }));
  }
  if (earlier.has_value()) {
    response.ParseFromString(*earlier);
    return response;
  }
  ASSIGN_OR_RETURN(const PreparedJob prepared,
                   PrepareJob(store_, devices_, options_.runs_dir, request, options_.clock()));
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<std::string> answer,
                     EarlierAnswer(t.db(), request.request_id(), "SubmitJob", hash));
    if (answer.has_value()) {
      response.ParseFromString(*answer);
      return absl::OkStatus();
    }
    JobRecord record{.job = prepared.job, .ledger = prepared.ledger};
    const std::string id = JobId(record.job.name());
    if (!request.job_id().empty() && LoadJob(t.db(), id).ok()) {
      return ErrorWithReason(absl::StatusCode::kAlreadyExists, "JOB_EXISTS",
                             absl::StrCat(record.job.name(), " exists already"));
    }
    RETURN_IF_ERROR(CheckQueueLength(t.db()));
    const std::string& output = record.job.config().output().path();
    if (!output.empty()) {
      ASSIGN_OR_RETURN(std::vector<std::string> others, JobsWithOutput(t.db(), output));
      if (!others.empty()) {
        return BadField("output.path", absl::StrCat(output, " is where jobs/", others.front(),
                                                    " will write its model"));
      }
    }
    *record.job.mutable_create_time() = ToProto(t.now());
    RETURN_IF_ERROR(ApplyTransition(t,
                                    {.to = v1::Job::QUEUED,
                                     .desired_state = v1::Job::DESIRED_RUN,
                                     .wait_reason = v1::Job::RESOURCES,
                                     .reason = "submitted",
                                     .actor = "user"},
                                    &record));
    RETURN_IF_ERROR(StoreAudit(t.db(), {.method = "SubmitJob", .job = id, .peer = peer}, t.now()));
    *response.mutable_job() = record.job;
    if (request.request_id().empty()) return absl::OkStatus();
    return StoreRequest(
        t.db(), request.request_id(),
        {.method = "SubmitJob", .body_hash = hash, .response = response.SerializeAsString()},
        t.now());
  }));
  options_.poke(response.job().name());
  return response;
}

absl::Status JobManager::CheckQueueLength(Connection& db) {
  // Counting takes time in a long queue: only done when what came since the last count could have
  // filled it.
  if (++queued_at_most_ <= options_.max_queued_jobs) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t queued, CountJobs(db, v1::Job::QUEUED));
  queued_at_most_ = queued + 1;
  if (queued < options_.max_queued_jobs) return absl::OkStatus();
  return WithRetry(ErrorWithReason(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                                   absl::StrCat(queued, " jobs wait already (max_queued_jobs)")),
                   kQueueFullRetry);
}

absl::StatusOr<v1::SubmitJobResponse> JobManager::Validate(const v1::SubmitJobRequest& request) {
  ASSIGN_OR_RETURN(PreparedJob prepared,
                   PrepareJob(store_, devices_, options_.runs_dir, request, options_.clock()));
  v1::SubmitJobResponse response;
  ASSIGN_OR_RETURN(*response.mutable_report(),
                   RunValidate(options_.inspect_path, MessageToYaml(prepared.job.config()),
                               options_.validate_timeout));
  prepared.job.clear_name();
  prepared.job.clear_run_dir();
  *response.mutable_job() = std::move(prepared.job);
  return response;
}

absl::StatusOr<v1::Job> JobManager::Command(const std::string& name, JobCommand command,
                                            const Call& call) {
  RETURN_IF_ERROR(CheckRequestId(call.request_id));
  const std::string id = JobId(name);
  if (id.empty()) return NoJob(name);
  v1::Job answer;
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<std::string> earlier,
                     EarlierAnswer(t.db(), call.request_id, call.method, call.body_hash));
    if (earlier.has_value()) {
      answer.ParseFromString(*earlier);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), id));
    RETURN_IF_ERROR(CheckEtag(call.etag, record.job));
    const v1::Job::DesiredState before = record.job.desired_state();
    absl::StatusOr<CommandEffect> effect =
        ApplyCommand(command, {.state = record.job.state(),
                               .desired_state = before,
                               .wait_reason = record.job.wait_reason(),
                               .has_verified_checkpoint = !record.job.latest_checkpoint().empty(),
                               .save_final_begun = SavesFinal(record)});
    if (!effect.ok()) {
      const bool terminal = IsTerminal(record.job.state());
      return ErrorWithReason(effect.status().code(), terminal ? "JOB_TERMINAL" : "JOB_STATE",
                             std::string(effect.status().message()),
                             {{"state", StateName(record.job.state())}, {"command", call.method}});
    }
    if (effect->changed) {
      if (IsActive(effect->state)) {
        v1::Job wanted = record.job;
        wanted.set_desired_state(effect->desired_state);
        if (command != JobCommand::kResume) {
          SetDeadlines(wanted, before, t.now(), &record.ledger);
        }
      }
      RETURN_IF_ERROR(ApplyTransition(
          t,
          {.to = effect->state,
           .desired_state = effect->desired_state,
           .wait_reason = effect->wait_reason,
           .reason = call.reason.empty() ? absl::StrCat(CommandName(command)) : call.reason,
           .actor = "user"},
          &record));
    }
    RETURN_IF_ERROR(StoreAudit(
        t.db(),
        {.method = CommandName(command), .job = id, .peer = call.peer, .detail = call.reason},
        t.now()));
    answer = record.job;
    if (call.request_id.empty()) return absl::OkStatus();
    return StoreRequest(t.db(), call.request_id,
                        {.method = call.method,
                         .body_hash = call.body_hash,
                         .response = answer.SerializeAsString()},
                        t.now());
  }));
  options_.poke(answer.name());
  return answer;
}

absl::StatusOr<v1::Job> JobManager::Pause(const v1::PauseRequest& request,
                                          const std::string& peer) {
  return Command(request.name(), JobCommand::kPause,
                 {"Pause", request.request_id(), RequestHash(request), request.etag(),
                  request.reason(), peer});
}

absl::StatusOr<v1::Job> JobManager::Resume(const v1::ResumeRequest& request,
                                           const std::string& peer) {
  return Command(request.name(), JobCommand::kResume,
                 {"Resume", request.request_id(), RequestHash(request), request.etag(), "", peer});
}

absl::StatusOr<v1::Job> JobManager::Stop(const v1::StopRequest& request, const std::string& peer) {
  JobCommand command = JobCommand::kStopGraceful;
  if (request.mode() == v1::StopRequest::DISCARD) command = JobCommand::kStopDiscard;
  if (request.mode() == v1::StopRequest::FORCE) command = JobCommand::kStopForce;
  if (!v1::StopRequest::Mode_IsValid(request.mode())) {
    return BadField("mode", "not a mode that this daemon knows: GRACEFUL, DISCARD or FORCE");
  }
  return Command(
      request.name(), command,
      {"Stop", request.request_id(), RequestHash(request), request.etag(), request.reason(), peer});
}

absl::StatusOr<v1::Job> JobManager::Delete(const v1::DeleteJobRequest& request,
                                           const std::string& peer) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  const std::string id = JobId(request.name());
  if (id.empty()) return NoJob(request.name());
  const std::string hash = RequestHash(request);
  v1::Job answer;
  bool begun = false;
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<std::string> earlier,
                     EarlierAnswer(t.db(), request.request_id(), "DeleteJob", hash));
    if (earlier.has_value()) {
      answer.ParseFromString(*earlier);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), id));
    RETURN_IF_ERROR(CheckEtag(request.etag(), record.job));
    if (!IsTerminal(record.job.state())) {
      return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                             absl::StrCat(record.job.name(), " is ", StateName(record.job.state()),
                                          "; stop it first (`trainctl stop ", id, "`)"));
    }
    ASSIGN_OR_RETURN(std::vector<std::string> users, JobsBasedOn(t.db(), id));
    if (!users.empty()) {
      return ErrorWithReason(
          absl::StatusCode::kFailedPrecondition, "JOB_IN_USE",
          absl::StrCat("jobs/", users.front(), " starts from a checkpoint of ", record.job.name()));
    }
    begun = true;
    record.job.set_deleting(true);
    RETURN_IF_ERROR(StoreJob(t.db(), &record));
    RETURN_IF_ERROR(StoreAudit(t.db(), {.method = "DeleteJob", .job = id, .peer = peer}, t.now()));
    answer = record.job;
    if (request.request_id().empty()) return absl::OkStatus();
    return StoreRequest(
        t.db(), request.request_id(),
        {.method = "DeleteJob", .body_hash = hash, .response = answer.SerializeAsString()},
        t.now());
  }));
  if (begun) options_.remove(id);
  return answer;
}

}  // namespace trainerd::server
