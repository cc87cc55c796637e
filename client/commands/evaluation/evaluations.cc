// SPDX-License-Identifier: Apache-2.0
// trainctl evaluations: lists evaluations, newest first, and cancels them.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_set.h"
#include "client/commands/evaluation/evaluation_text.h"
#include "client/net/job_names.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;

absl::StatusOr<v1::Evaluation::State> ParseEvaluationState(const std::string& text) {
  v1::Evaluation::State state = v1::Evaluation::STATE_UNSPECIFIED;
  if (v1::Evaluation::State_Parse(absl::AsciiStrToUpper(text), &state) &&
      state != v1::Evaluation::STATE_UNSPECIFIED)
    return state;
  return absl::InvalidArgumentError(absl::StrCat(
      "--state ", text, " is not TRIGGERED, LEASED, COMPLETED, FAILED, EXPIRED or CANCELLED"));
}

absl::StatusOr<v1::ListEvaluationsResponse> ListAll(const EvaluationsOptions& options,
                                                    Connection& connection) {
  v1::ListEvaluationsRequest request;
  request.set_parent(kAllJobs);
  if (!options.job.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_parent(), ResolveJobName(connection, options.job));
  }
  for (const std::string& text : options.states) {
    ASSIGN_OR_RETURN(const v1::Evaluation::State state, ParseEvaluationState(text));
    request.add_states(state);
  }
  request.set_page_size(kPageSize);
  return ReadAllPages<v1::ListEvaluationsResponse>(connection, request);
}

// The part of the model's name after that of its job.
std::string ModelText(const v1::Evaluation& evaluation) {
  const std::string id = CheckpointId(evaluation.model());
  if (id.empty() || JobId(evaluation.model()) != JobId(evaluation.job()))
    return PlainText(evaluation.model());
  return PlainText(id);
}

void PrintTable(const v1::ListEvaluationsResponse& all, const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  std::vector<std::string> header = {"EVALUATION", "STATE", "SUITE", "STEP", "AGE", "RESULT"};
  if (wide) header.insert(header.end(), {"MODEL", "TRIGGER", "EVALUATOR", "LEASES", "EXPIRES"});
  Table table(std::move(header));
  for (const v1::Evaluation& evaluation : all.evaluations()) {
    std::vector<std::string> row = {PlainText(evaluation.name()),
                                    v1::Evaluation::State_Name(evaluation.state()),
                                    PlainText(evaluation.suite()),
                                    absl::StrCat(evaluation.step()),
                                    FormatAge(evaluation.create_time(), absl::Now()),
                                    ResultText(evaluation)};
    if (wide) {
      row.push_back(ModelText(evaluation));
      row.push_back(v1::Evaluation::Trigger_Name(evaluation.trigger()));
      row.push_back(evaluation.evaluator().empty() ? "-" : PlainText(evaluation.evaluator()));
      row.push_back(absl::StrCat(evaluation.lease_count()));
      row.push_back(FormatTimestamp(evaluation.expire_time()));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

}  // namespace

int RunEvaluations(const EvaluationsOptions& options, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<v1::ListEvaluationsResponse> all = ListAll(options, **connection);
  if (!all.ok()) return PrintError(all.status(), context);
  if (IsForPeople(context.form)) {
    PrintTable(*all, context);
  } else {
    PrintList(*all, all->evaluations(), context.form, context.out());
  }
  return kDone;
}

int RunEvaluationsCancel(const EvaluationsCancelOptions& options, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  int code = kDone;
  for (const std::string& name : options.evaluations) {
    v1::CancelEvaluationRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    request.set_reason(options.reason);
    const absl::StatusOr<v1::Evaluation> cancelled = (*connection)->Call<v1::Evaluation>(request);
    if (cancelled.ok()) {
      PrintEvaluation(*cancelled, context);
    } else {
      code = Worse(code, PrintError(cancelled.status(), context));
    }
  }
  return code;
}

}  // namespace trainerd::client
