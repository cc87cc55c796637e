// SPDX-License-Identifier: Apache-2.0
// trainctl evaluate: requests an evaluation of a checkpoint, a final model, or what a job started
// from.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/evaluation/evaluation_text.h"
#include "client/net/job_names.h"
#include "client/view/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

// The final model of a job that trained to its end, else its newest verified checkpoint.
absl::StatusOr<std::string> NewestModel(Connection& connection, const std::string& name) {
  ASSIGN_OR_RETURN(const v1::Job job, connection.GetJob(name));
  bool complete = job.state() == v1::Job::SUCCEEDED;
  for (const v1::Job::Condition& condition : job.conditions())
    complete |= condition.type() == "AwaitingEvaluation" && condition.active();
  if (complete) return FinalName(name);
  if (!job.latest_checkpoint().empty()) return job.latest_checkpoint();
  return absl::FailedPreconditionError(absl::StrCat(
      name, " is ", StateName(job.state()), " and has no verified checkpoint yet; evaluate ",
      JobId(name), "/start for the model that it starts from"));
}

// JOB, JOB/final, JOB/start or JOB/checkpoints/ID → the name of a model.
absl::StatusOr<std::string> ResolveModel(Connection& connection, const std::string& text) {
  for (const char* suffix : {"/final", "/start"}) {
    if (!absl::EndsWith(text, suffix) || absl::StrContains(text, "/checkpoints/")) continue;
    ASSIGN_OR_RETURN(
        const std::string job,
        ResolveJobName(connection, text.substr(0, text.size() - std::string(suffix).size())));
    return job + suffix;
  }
  ASSIGN_OR_RETURN(std::string name, ResolveJobOrCheckpoint(connection, text));
  if (!CheckpointId(name).empty()) return name;
  return NewestModel(connection, name);
}

absl::StatusOr<v1::RequestEvaluationRequest> MakeRequest(const EvaluateOptions& options) {
  v1::RequestEvaluationRequest request;
  request.set_request_id(NewRequestId());
  request.set_entry(options.entry);
  if (options.suites.size() > 1)
    return absl::InvalidArgumentError("--suite: give one; several are for --worker");
  if (!options.suites.empty()) request.set_suite(options.suites.front());
  for (const std::string& text : options.params) {
    const std::pair<std::string, std::string> param = absl::StrSplit(text, absl::MaxSplits('=', 1));
    if (param.first.empty() || !absl::StrContains(text, '='))
      return absl::InvalidArgumentError(absl::StrCat("--param ", text, " is not KEY=VALUE"));
    (*request.mutable_params())[param.first] = param.second;
  }
  if (!options.deadline.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration deadline, ParseSpan(options.deadline));
    *request.mutable_deadline() = ToProto(deadline);
  }
  return request;
}

absl::StatusOr<v1::Evaluation> RequestOne(const EvaluateOptions& options, const Context& context) {
  ASSIGN_OR_RETURN(v1::RequestEvaluationRequest request, MakeRequest(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, context.Connect());
  ASSIGN_OR_RETURN(*request.mutable_model(), ResolveModel(*connection, options.model));
  return connection->Call<v1::Evaluation>(request);
}

}  // namespace

int RunEvaluate(const EvaluateOptions& options, const Context& context) {
  if (options.worker) return RunEvaluateWorker(options, context);
  if (options.model.empty()) {
    return PrintUsageError(
        "name what to evaluate, a job or one of its checkpoints; or --worker to work on what is "
        "requested",
        context);
  }
  const absl::StatusOr<v1::Evaluation> evaluation = RequestOne(options, context);
  if (!evaluation.ok()) return PrintError(evaluation.status(), context);
  PrintEvaluation(*evaluation, context);
  return kDone;
}

}  // namespace trainerd::client
