// SPDX-License-Identifier: Apache-2.0
// trainctl evaluate --worker: an evaluator that runs a command for each evaluation. It keeps
// nothing: when it is killed, its lease expires, and the evaluation is offered again.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/interrupt.h"
#include "client/commands/common/job_text.h"
#include "client/commands/evaluation/evaluation_output.h"
#include "client/commands/evaluation/evaluation_text.h"
#include "client/commands/evaluation/lease_keeper.h"
#include "client/net/status_details.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::client {
namespace {

// One call of LeaseEvaluation. Ctrl-C is noticed after it.
constexpr absl::Duration kLeaseWait = absl::Seconds(2);
constexpr absl::Duration kRetryEvery = absl::Seconds(1);
constexpr absl::Duration kDefaultLease = absl::Seconds(60);
constexpr size_t kMaxOutputBytes = size_t{64} << 20;
// Of the report.
constexpr size_t kMaxErrorBytes = 4000;

std::string EvaluatorName() {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) return absl::StrCat("process ", ::getpid());
  return absl::StrCat(host, " process ", ::getpid());
}

// `text` as one word of the shell.
std::string ShellWord(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '/' || c == '.' || c == '_' || c == '-' || c == ':';
  });
  return plain ? text : absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// The script that runs the command: what it works on is in its environment and in the place of
// {checkpoint} and so on.
std::string Script(const std::string& command, const v1::LeaseEvaluationResponse& leased) {
  const v1::Evaluation& evaluation = leased.evaluation();
  nlohmann::json params = nlohmann::json::object();
  for (const auto& [key, value] : evaluation.params()) params[key] = value;
  const std::vector<std::pair<std::string, std::string>> values = {
      {"checkpoint", leased.path()},
      {"evaluation", evaluation.name()},
      {"job", evaluation.job()},
      {"model", evaluation.model()},
      {"step", absl::StrCat(evaluation.step())},
      {"suite", evaluation.suite()},
      {"params", params.dump()}};
  std::string script;
  std::vector<std::pair<std::string, std::string>> words;
  for (const auto& [name, value] : values) {
    absl::StrAppend(&script, "export TRAINERD_", absl::AsciiStrToUpper(name), "=", ShellWord(value),
                    "\n");
    words.emplace_back(absl::StrCat("{", name, "}"), ShellWord(value));
  }
  return absl::StrCat(script, absl::StrReplaceAll(command, words), "\n");
}

// Text of a program as the report may hold it: the end of it, without control characters.
std::string ReportText(const std::string& text) {
  return PlainTextLines(text.size() <= kMaxErrorBytes
                            ? text
                            : absl::StrCat("… ", text.substr(text.size() - kMaxErrorBytes)));
}

v1::ReportEvaluationRequest Failure(const std::string& error) {
  v1::ReportEvaluationRequest report;
  report.set_error(ReportText(error));
  return report;
}

class Worker {
 public:
  Worker(const EvaluateOptions& options, absl::Duration lease, const Context& context)
      : options_(options), lease_(lease), context_(context) {}

  int Run() {
    while (!interrupt_.requested()) {
      const absl::Time begun = SteadyNow();
      const absl::StatusOr<v1::LeaseEvaluationResponse> leased = Lease();
      if (!leased.ok() && !absl::IsUnavailable(leased.status()))
        return PrintError(leased.status(), context_);
      if (!leased.ok()) {
        Pause(leased.status());
        continue;
      }
      ShowConnected();
      if (!leased->has_evaluation()) continue;
      const int code = Work(*leased, begun);
      if (options_.once) return code;
    }
    return kDone;
  }

 private:
  absl::StatusOr<v1::LeaseEvaluationResponse> Lease() {
    if (connection_ == nullptr) {
      ASSIGN_OR_RETURN(connection_, context_.Connect());
    }
    v1::LeaseEvaluationRequest request;
    request.mutable_suites()->Assign(options_.suites.begin(), options_.suites.end());
    request.set_evaluator(EvaluatorName());
    *request.mutable_lease_duration() = ToProto(lease_);
    *request.mutable_wait() = ToProto(kLeaseWait);
    return connection_->Call<v1::LeaseEvaluationResponse>(request);
  }

  void Pause(const absl::Status& why) {
    if (!lost_) ReportConnectionLost(why, context_);
    lost_ = true;
    connection_.reset();
    absl::SleepFor(kRetryEvery);
  }

  void ShowConnected() {
    if (lost_) ReportReconnected(context_);
    lost_ = false;
  }

  // Runs the command and reports. Returns the exit code.
  int Work(const v1::LeaseEvaluationResponse& leased, absl::Time begun) {
    const std::string& name = leased.evaluation().name();
    LeaseKeeper keeper({.name = name, .id = leased.lease(), .duration = lease_, .since = begun},
                       context_);
    if (context_.talks())
      context_.err() << "trainctl: " << PlainText(name) << " began" << std::endl;
    const absl::StatusOr<ProcessResult> result =
        RunProcess({.argv = {"/bin/sh", "-c", Script(options_.command, leased)},
                    .timeout = absl::Hours(1'000),
                    .max_output_bytes = kMaxOutputBytes,
                    .is_cancelled = [&] { return keeper.IsLost() || interrupt_.requested(); }});
    if (result.ok()) context_.err() << result->err << std::flush;
    if (keeper.IsLost() || interrupt_.requested()) {
      const std::string why = keeper.IsLost() ? keeper.Reason()
                                              : "interrupted; the lease expires and it is offered "
                                                "again";
      context_.err() << "trainctl: " << PlainText(name) << " was stopped: " << PlainText(why)
                     << std::endl;
      return kJobStopped;
    }
    v1::ReportEvaluationRequest report = ReportOf(result);
    report.set_name(name);
    report.set_lease(leased.lease());
    return Report(std::move(report), keeper);
  }

  static v1::ReportEvaluationRequest ReportOf(const absl::StatusOr<ProcessResult>& result) {
    if (!result.ok()) return Failure(std::string(result.status().message()));
    if (result->exit.code != 0)
      return Failure(
          absl::StrCat("the command ended with ", result->exit.ToString(), "\n", result->err));
    absl::StatusOr<v1::ReportEvaluationRequest> report = ParseEvaluationOutput(result->out);
    return report.ok() ? *std::move(report) : Failure(std::string(report.status().message()));
  }

  // Repeats the report until the daemon answers: it counts once.
  int Report(v1::ReportEvaluationRequest report, const LeaseKeeper& keeper) {
    while (true) {
      absl::StatusOr<v1::Evaluation> ended = absl::UnavailableError("");
      if (connection_ == nullptr) {
        absl::StatusOr<std::unique_ptr<Connection>> opened = context_.Connect();
        if (opened.ok()) connection_ = *std::move(opened);
      }
      if (connection_ != nullptr) ended = connection_->Call<v1::Evaluation>(report);
      if (ended.ok()) {
        ShowConnected();
        PrintEvaluation(*ended, context_);
        return ended->state() == v1::Evaluation::COMPLETED ? kDone : kJobFailed;
      }
      // What the command measured cannot be reported: that is the result.
      if (absl::IsInvalidArgument(ended.status()) && report.error().empty()) {
        v1::ReportEvaluationRequest failure =
            Failure(absl::StrCat("the result was refused: ", ended.status().message()));
        failure.set_name(report.name());
        failure.set_lease(report.lease());
        report = std::move(failure);
        continue;
      }
      if (!absl::IsUnavailable(ended.status()) || keeper.IsLost() || interrupt_.requested())
        return PrintError(ended.status(), context_);
      Pause(ended.status());
    }
  }

  const EvaluateOptions& options_;
  const absl::Duration lease_;
  const Context& context_;
  InterruptScope interrupt_;
  std::unique_ptr<Connection> connection_;
  bool lost_ = false;
};

}  // namespace

int RunEvaluateWorker(const EvaluateOptions& options, const Context& context) {
  if (options.suites.empty() || options.command.empty())
    return PrintUsageError("--worker needs --suite and --command", context);
  absl::Duration lease = kDefaultLease;
  if (!options.lease.empty()) {
    const absl::StatusOr<absl::Duration> given = ParseSpan(options.lease);
    if (!given.ok()) return PrintError(given.status(), context);
    lease = *given;
  }
  // An address that cannot be right is reported at once; later, the worker waits for the daemon.
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  return Worker(options, lease, context).Run();
}

}  // namespace trainerd::client
