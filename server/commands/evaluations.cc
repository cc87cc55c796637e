// SPDX-License-Identifier: Apache-2.0
#include "server/commands/evaluations.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/rules/remote_evaluation_rules.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/command.h"
#include "server/commands/evaluation_report.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/evaluations/result.h"
#include "server/store/errors.h"
#include "server/store/rows/evaluation_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;

constexpr int kMaxSuites = 32;
constexpr absl::Duration kMaxWait = absl::Hours(1);
constexpr absl::Duration kDefaultDeadline = absl::Hours(24);
constexpr absl::Duration kMinDeadline = absl::Minutes(1);
constexpr absl::Duration kMaxDeadline = absl::Hours(720);

absl::Status CheckRange(const std::string& field, absl::Duration value, absl::Duration min,
                        absl::Duration max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return BadField(field, absl::StrCat(absl::FormatDuration(value), " is not in ",
                                      absl::FormatDuration(min), "..", absl::FormatDuration(max)));
}

absl::StatusOr<absl::Duration> LeaseDuration(bool given, const google::protobuf::Duration& value) {
  if (!given) return kDefaultLease;
  RETURN_IF_ERROR(CheckRange("lease_duration", FromProto(value), kMinLease, kMaxLease));
  return FromProto(value);
}

absl::Status CheckSuite(const std::string& field, const std::string& suite) {
  if (IsSuiteName(suite)) return absl::OkStatus();
  return BadField(
      field, absl::StrCat(Quoted(suite), " is not 1 to 63 of the characters a-z 0-9 . ", "_ -"));
}

absl::StatusOr<std::string> RequestedEvaluation(const std::string& name) {
  std::optional<std::string> parsed = ParseEvaluationName(name);
  if (parsed.has_value()) return *std::move(parsed);
  return WithReason(BadField("name", absl::StrCat(Quoted(name),
                                                  " is not the name of an evaluation; use "
                                                  "jobs/ID/evaluations/EVALUATION")),
                    "INVALID_NAME");
}

std::string NewLease() {
  absl::BitGen random;
  return absl::StrFormat("%016x%016x", absl::Uniform<uint64_t>(random),
                         absl::Uniform<uint64_t>(random));
}

// The error of a call that is refused.
absl::Status RefusalOf(EvaluationVerdict verdict, const Evaluation& evaluation) {
  if (verdict == EvaluationVerdict::kLeaseLost) {
    return ErrorWithReason(
        absl::StatusCode::kAborted, "LEASE_LOST",
        absl::StrCat(evaluation.name(), " is leased by another evaluator",
                     evaluation.evaluator().empty() ? "" : ", ", evaluation.evaluator(),
                     "; stop working on it and lease the next one"));
  }
  const bool recorded = HasEnded(evaluation.state());
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, "EVALUATION_ENDED",
      absl::StrCat(evaluation.name(), " has ended: ",
                   Evaluation::State_Name(recorded ? evaluation.state() : Evaluation::EXPIRED),
                   evaluation.error().empty() ? "" : ", ", evaluation.error().substr(0, 200)));
}

bool IsRefused(EvaluationVerdict verdict) {
  return verdict == EvaluationVerdict::kLeaseLost || verdict == EvaluationVerdict::kEnded;
}

// The model of a request: it exists and is not being deleted. Sets its step.
absl::Status CheckModel(Connection& db, const JobRecord& record, NewEvaluation* evaluation) {
  const v1::Job& job = record.job;
  const std::string& model = evaluation->model;
  if (job.deleting()) {
    return ErrorWithReason(absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
                           absl::StrCat(job.name(), " is being deleted"));
  }
  evaluation->step = record.ledger.init_step();
  if (IsStartName(model)) return absl::OkStatus();
  evaluation->step = record.ledger.applied_step();
  if (IsFinalName(model)) {
    if (job.state() == v1::Job::SUCCEEDED || record.ledger.awaiting_evaluation())
      return absl::OkStatus();
    return ErrorWithReason(
        absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
        absl::StrCat(model, " does not exist: the job is ", StateName(job.state()),
                     "; evaluate one of its checkpoints (`trainctl checkpoints "
                     "ls ",
                     JobId(job.name()), "`)"));
  }
  ASSIGN_OR_RETURN(const std::optional<CheckpointRow> row,
                   FindCheckpoint(db, JobId(job.name()), CheckpointId(model)));
  if (!row.has_value() || row->checkpoint.deleted()) {
    return ErrorWithReason(
        row.has_value() ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kNotFound,
        row.has_value() ? "CHECKPOINT_DELETED" : "CHECKPOINT_NOT_FOUND",
        absl::StrCat(model, row.has_value() ? " was deleted" : " does not exist",
                     "; `trainctl checkpoints ls ", JobId(job.name()), "` lists those that exist"));
  }
  evaluation->step = row->checkpoint.step();
  return absl::OkStatus();
}

// Takes suite, params and deadline from the entry that the request names.
absl::Status TakeEntry(const v1::RequestEvaluationRequest& request, const v1::Job& job,
                       NewEvaluation* evaluation) {
  evaluation->suite = request.suite();
  evaluation->entry = request.entry().empty() ? request.suite() : request.entry();
  evaluation->deadline = kDefaultDeadline;
  if (!request.entry().empty()) {
    const auto& remote = job.config().evaluation().remote();
    const auto entry = std::find_if(remote.begin(), remote.end(), [&](const auto& candidate) {
      return candidate.name() == request.entry();
    });
    if (entry == remote.end()) {
      return BadField("entry", absl::StrCat(Quoted(request.entry()),
                                            " is not an entry of evaluation.remote of ", job.name(),
                                            "; name one of them, or give a suite"));
    }
    if (evaluation->suite.empty()) evaluation->suite = entry->suite();
    evaluation->params.insert(entry->params().begin(), entry->params().end());
    evaluation->deadline = FromProto(entry->deadline());
  }
  if (evaluation->suite.empty())
    return BadField("suite", "is required where entry is not given: which evaluator shall do it");
  for (const auto& [key, value] : request.params()) evaluation->params[key] = value;
  if (static_cast<int>(evaluation->params.size()) > kMaxEvaluationParams) {
    return BadField("params", absl::StrCat(evaluation->params.size(), " params are more than ",
                                           kMaxEvaluationParams));
  }
  if (request.has_deadline()) evaluation->deadline = FromProto(request.deadline());
  return CheckRange("deadline", evaluation->deadline, kMinDeadline, kMaxDeadline);
}

}  // namespace

absl::Status Evaluations::Check(const v1::LeaseEvaluationRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  if (request.suites().empty() || request.suites_size() > kMaxSuites) {
    return BadField(
        "suites", absl::StrCat("has ", request.suites_size(), " entries; give 1 to ", kMaxSuites));
  }
  for (int i = 0; i < request.suites_size(); ++i)
    RETURN_IF_ERROR(CheckSuite(absl::StrCat("suites[", i, "]"), request.suites(i)));
  RETURN_IF_ERROR(LeaseDuration(request.has_lease_duration(), request.lease_duration()).status());
  return CheckRange("wait", FromProto(request.wait()), absl::ZeroDuration(), kMaxWait);
}

absl::StatusOr<v1::LeaseEvaluationResponse> Evaluations::Lease(
    const v1::LeaseEvaluationRequest& request, const Caller& caller) {
  ASSIGN_OR_RETURN(const absl::Duration duration,
                   LeaseDuration(request.has_lease_duration(), request.lease_duration()));
  const std::vector<std::string> suites(request.suites().begin(), request.suites().end());
  v1::LeaseEvaluationResponse response;
  // Most calls wait for a while: they change nothing.
  ASSIGN_OR_RETURN(const std::optional<EvaluationRecord> offered, store_.Read([&](Connection& db) {
    return FirstOnOffer(db, suites, store_.SteadyNow());
  }));
  if (!offered.has_value()) return response;
  CommandCall call{.method = "LeaseEvaluation", .caller = caller};
  RETURN_IF_ERROR(RunCommand(
      store_, call, JobId(offered->evaluation.job()),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(std::optional<EvaluationRecord> record,
                         FirstOnOffer(t.db(), suites, t.steady_now()));
        if (!record.has_value() || !IsOnOffer(StateOf(*record), t.steady_now()))
          return absl::OkStatus();
        response.set_lease(NewLease());
        RETURN_IF_ERROR(GiveLease(
            t, {.id = response.lease(), .evaluator = request.evaluator(), .duration = duration},
            &*record));
        *response.mutable_evaluation() = std::move(record->evaluation);
        return absl::OkStatus();
      },
      &response));
  if (response.has_evaluation()) RETURN_IF_ERROR(FillModel(&response));
  return response;
}

absl::Status Evaluations::FillModel(v1::LeaseEvaluationResponse* response) {
  const std::string& model = response->evaluation().model();
  std::string folder;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    if (!CheckpointId(model).empty()) {
      ASSIGN_OR_RETURN(const std::optional<CheckpointRow> row,
                       FindCheckpoint(db, JobId(model), CheckpointId(model)));
      if (!row.has_value()) return absl::OkStatus();
      response->set_path(row->checkpoint.path());
      response->set_manifest_digest(row->checkpoint.manifest_digest());
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, JobId(model)));
    if (IsFinalName(model)) {
      folder = absl::StrCat(record.job.run_dir(), "/final");
      response->set_path(folder);
    } else {
      response->set_path(record.ledger.init_path().empty() ? record.job.config().model().path()
                                                           : record.ledger.init_path());
    }
    return absl::OkStatus();
  }));
  if (folder.empty()) return absl::OkStatus();
  // Without it, the evaluator finds out by itself that the folder is damaged.
  absl::StatusOr<std::string> digest = ManifestDigest(folder);
  if (digest.ok()) response->set_manifest_digest(*std::move(digest));
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> Evaluations::Renew(const v1::RenewEvaluationRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const std::string name, RequestedEvaluation(request.name()));
  ASSIGN_OR_RETURN(const absl::Duration duration,
                   LeaseDuration(request.has_lease_duration(), request.lease_duration()));
  Evaluation reply;
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(EvaluationRecord record, LoadEvaluation(t.db(), name));
    const EvaluationVerdict verdict = DecideRenew(StateOf(record), request.lease(), t.steady_now());
    if (IsRefused(verdict)) return RefusalOf(verdict, record.evaluation);
    RETURN_IF_ERROR(RenewLease(t, duration, &record));
    reply = std::move(record.evaluation);
    return absl::OkStatus();
  }));
  return reply;
}

absl::StatusOr<Evaluation> Evaluations::Report(const v1::ReportEvaluationRequest& request,
                                               const Caller& caller) {
  RETURN_IF_ERROR(CheckReport(request));
  ASSIGN_OR_RETURN(const std::string name, RequestedEvaluation(request.name()));
  const CommandCall call{
      .method = "ReportEvaluation", .caller = caller, .reason = name, .resource = name};
  Evaluation reply;
  RETURN_IF_ERROR(RunCommand(
      store_, call, JobId(name),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(EvaluationRecord record, LoadEvaluation(t.db(), name));
        const EvaluationVerdict verdict =
            DecideReport(StateOf(record), request.lease(), HasResult(record.evaluation, request),
                         t.steady_now());
        if (IsRefused(verdict)) return RefusalOf(verdict, record.evaluation);
        if (verdict == EvaluationVerdict::kAccepted) {
          *record.evaluation.mutable_metrics() = request.metrics();
          *record.evaluation.mutable_artifacts() = request.artifacts();
          record.evaluation.set_error(request.error());
          const bool failed = !request.error().empty();
          RETURN_IF_ERROR(
              EndEvaluation(t, failed ? Evaluation::FAILED : Evaluation::COMPLETED, &record));
          if (!failed) RETURN_IF_ERROR(RecordResult(t, record));
        }
        reply = std::move(record.evaluation);
        return absl::OkStatus();
      },
      &reply));
  Ended(reply);
  return reply;
}

absl::StatusOr<v1::ListEvaluationsResponse> Evaluations::List(
    const v1::ListEvaluationsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t before, PageToken(request.page_token()));
  EvaluationQuery query{.before_number = before};
  for (const int state : request.states())
    query.states.push_back(static_cast<Evaluation::State>(state));
  if (request.parent() != kAllJobs) {
    ASSIGN_OR_RETURN(query.job_id, RequestedJob("parent", request.parent()));
  }
  return store_.Read([&](Connection& db) -> absl::StatusOr<v1::ListEvaluationsResponse> {
    if (!query.job_id.empty()) RETURN_IF_ERROR(LoadJob(db, query.job_id).status());
    v1::ListEvaluationsResponse response;
    PageFill fill(page);
    int64_t last = 0;
    RETURN_IF_ERROR(ForEachEvaluation(db, query, [&](EvaluationRecord record) {
      if (!fill.Takes(record.evaluation)) {
        response.set_next_page_token(absl::StrCat(last));
        return false;
      }
      last = record.number;
      *response.add_evaluations() = std::move(record.evaluation);
      return true;
    }));
    return response;
  });
}

absl::StatusOr<Evaluation> Evaluations::Request(const v1::RequestEvaluationRequest& request,
                                                const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  if (!ParseModelName(request.model()).has_value()) {
    return WithReason(BadField("model", absl::StrCat(Quoted(request.model()),
                                                     " is not the name of a model; use "
                                                     "jobs/ID/checkpoints/CHECKPOINT, "
                                                     "jobs/ID/final or jobs/ID/start")),
                      "INVALID_NAME");
  }
  if (!request.suite().empty()) RETURN_IF_ERROR(CheckSuite("suite", request.suite()));
  CommandCall call = MakeCall("RequestEvaluation", request, caller);
  call.reason = request.model();
  call.resource = request.model();
  Evaluation reply;
  RETURN_IF_ERROR(RunCommand(
      store_, call, JobId(request.model()),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(const JobRecord record, LoadJob(t.db(), JobId(request.model())));
        NewEvaluation evaluation{
            .job = record.job.name(), .model = request.model(), .trigger = Evaluation::MANUAL};
        RETURN_IF_ERROR(CheckModel(t.db(), record, &evaluation));
        RETURN_IF_ERROR(TakeEntry(request, record.job, &evaluation));
        ASSIGN_OR_RETURN(EvaluationRecord added, AddEvaluation(t, std::move(evaluation)));
        reply = std::move(added.evaluation);
        return absl::OkStatus();
      },
      &reply));
  return reply;
}

absl::StatusOr<Evaluation> Evaluations::Cancel(const v1::CancelEvaluationRequest& request,
                                               const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const std::string name, RequestedEvaluation(request.name()));
  CommandCall call = MakeCall("CancelEvaluation", request, caller);
  call.reason = request.reason();
  call.resource = name;
  Evaluation reply;
  RETURN_IF_ERROR(RunCommand(
      store_, call, JobId(name),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(EvaluationRecord record, LoadEvaluation(t.db(), name));
        const EvaluationVerdict verdict = DecideCancel(StateOf(record), t.steady_now());
        if (IsRefused(verdict)) return RefusalOf(verdict, record.evaluation);
        if (verdict == EvaluationVerdict::kAccepted) {
          record.evaluation.set_error(request.reason());
          RETURN_IF_ERROR(EndEvaluation(t, Evaluation::CANCELLED, &record));
        }
        reply = std::move(record.evaluation);
        return absl::OkStatus();
      },
      &reply));
  Ended(reply);
  return reply;
}

void Evaluations::Ended(const Evaluation& evaluation) {
  options_.poke(evaluation.job());
  if (!CheckpointId(evaluation.model()).empty()) options_.retain(JobId(evaluation.model()));
}

}  // namespace trainerd::server
