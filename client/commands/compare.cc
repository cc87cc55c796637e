// SPDX-License-Identifier: Apache-2.0
// trainctl compare: what differs between jobs, and which of them is best.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_pages.h"
#include "client/commands/common/job_set.h"
#include "client/view/format.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/label_selector.h"
#include "proto/contract/job/metric_values.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kValidationLoss[] = "eval.validation.loss";
constexpr char kLoss[] = "loss";
// As many as QueryMetrics gives.
constexpr int kPoints = 10'000;

// By which value the jobs are compared.
struct Measure {
  std::string metric;
  bool lower_is_better = true;

  bool IsBetter(double a, double b) const { return lower_is_better ? a < b : a > b; }
};

// The curve of the metric in one job.
struct Result {
  std::optional<double> last;
  std::optional<double> best;
  // Of `best`, if the curve has every value.
  std::optional<int64_t> best_step;
};

struct Compared {
  v1::Job job;
  // Dotted key → value as in JSON.
  std::map<std::string, Json> config;
  Result result;
};

void Flatten(const Json& value, const std::string& path, std::map<std::string, Json>* flat) {
  if (!value.is_object()) {
    (*flat)[path] = value;
    return;
  }
  for (const auto& [key, inner] : value.items())
    Flatten(inner, path.empty() ? key : absl::StrCat(path, ".", key), flat);
}

// Keys that differ between all jobs of a kind, whatever they train.
bool IsIncidental(const std::string& key) {
  return key == "name" || key == "data.now" || key == "labels.group";
}

std::vector<std::string> DifferingKeys(const std::vector<Compared>& jobs) {
  std::set<std::string> keys, differing;
  for (const Compared& compared : jobs) {
    for (const auto& [key, value] : compared.config) keys.insert(key);
  }
  auto value_of = [](const Compared& compared, const std::string& key) {
    const auto found = compared.config.find(key);
    return found == compared.config.end() ? Json() : found->second;
  };
  for (const std::string& key : keys) {
    for (const Compared& compared : jobs) {
      if (value_of(compared, key) != value_of(jobs.front(), key)) differing.insert(key);
    }
  }
  std::erase_if(differing, IsIncidental);
  return {differing.begin(), differing.end()};
}

std::string ValueText(const Compared& compared, const std::string& key) {
  const auto found = compared.config.find(key);
  if (found == compared.config.end() || found->second.is_null()) return "-";
  const Json& value = found->second;
  if (value.is_string()) return PlainText(value.get<std::string>());
  return PlainText(value.is_number_float() ? FormatShortest(value.get<double>())
                                           : JsonText(value, /*pretty=*/false));
}

absl::StatusOr<v1::QueryMetricsResponse> Curve(Connection& connection, const std::string& job,
                                               const std::string& metric) {
  v1::QueryMetricsRequest request;
  request.set_name(job);
  request.add_metrics(metric);
  request.set_max_points(kPoints);
  return connection.Call<v1::QueryMetricsResponse>(request);
}

// What evaluation.best of the jobs says, else the validation loss if a job has one, else the loss.
absl::StatusOr<Measure> ChooseMeasure(Connection& connection, const CompareOptions& options,
                                      const std::vector<Compared>& jobs) {
  Measure measure{.metric = options.metric};
  for (const Compared& compared : jobs) {
    const v1::EvaluationConfig& evaluation = compared.job.config().evaluation();
    if (!measure.metric.empty() || !evaluation.has_best()) continue;
    measure.metric = evaluation.best().metric();
    measure.lower_is_better = evaluation.best().mode() != v1::BestConfig::MODE_MAX;
    if (evaluation.best().mode() == v1::BestConfig::MODE_UNSPECIFIED)
      measure.lower_is_better = IsLoss(measure.metric);
    if (!options.mode.empty()) measure.lower_is_better = options.mode == "min";
    return measure;
  }
  for (const Compared& compared : jobs) {
    if (!measure.metric.empty()) break;
    ASSIGN_OR_RETURN(const v1::QueryMetricsResponse curve,
                     Curve(connection, compared.job.name(), kValidationLoss));
    if (!curve.series().empty()) measure.metric = kValidationLoss;
  }
  if (measure.metric.empty()) measure.metric = kLoss;
  measure.lower_is_better = options.mode.empty() ? IsLoss(measure.metric) : options.mode == "min";
  return measure;
}

Result ResultOf(const v1::MetricSeries& series, const Measure& measure) {
  Result result{.last = series.last(series.last_size() - 1)};
  const auto& extremes = measure.lower_is_better ? series.min() : series.max();
  const bool exact = extremes.empty();
  for (int i = 0; i < series.last_size(); ++i) {
    const double value = exact ? series.last(i) : extremes[i];
    if (!std::isfinite(value) || (result.best && !measure.IsBetter(value, *result.best))) continue;
    result.best = value;
    if (exact) result.best_step = series.steps(i);
  }
  return result;
}

absl::Status AddResults(Connection& connection, const Measure& measure,
                        std::vector<Compared>* jobs) {
  for (Compared& compared : *jobs) {
    ASSIGN_OR_RETURN(const v1::QueryMetricsResponse curve,
                     Curve(connection, compared.job.name(), measure.metric));
    if (!curve.series().empty()) compared.result = ResultOf(curve.series(0), measure);
    // What evaluators report belongs to checkpoints.
    const v1::Job& job = compared.job;
    if (!compared.result.best && job.has_best_value() &&
        job.config().evaluation().best().metric() == measure.metric)
      compared.result.best = job.best_value();
  }
  return absl::OkStatus();
}

const Compared* BestOf(const std::vector<Compared>& jobs, const Measure& measure) {
  const Compared* best = nullptr;
  for (const Compared& compared : jobs) {
    if (!compared.result.best.has_value()) continue;
    if (best == nullptr || measure.IsBetter(*compared.result.best, *best->result.best))
      best = &compared;
  }
  return best;
}

std::string NumberText(const std::optional<double>& value) {
  return value.has_value() ? FormatNumber(*value) : "-";
}

void PrintTable(const std::vector<Compared>& jobs, const Measure& measure, const Compared* best,
                const Context& context) {
  const std::vector<std::string> keys = DifferingKeys(jobs);
  std::vector<std::string> header = {"ID", "NAME", "STATE", "STEP"};
  for (const std::string& key : keys) header.push_back(PlainText(key));
  header.insert(header.end(), {PlainText(measure.metric), "BEST", "AT STEP"});
  Table table(std::move(header));
  for (const Compared& compared : jobs) {
    const v1::Job& job = compared.job;
    std::vector<std::string> row = {
        PlainText(JobId(job.name())), PlainText(job.config().name()),
        ColorByState(job.state(), DescribeState(job), context.env.color),
        absl::StrCat(job.progress().step())};
    for (const std::string& key : keys) row.push_back(ValueText(compared, key));
    row.push_back(NumberText(compared.result.last));
    row.push_back(NumberText(compared.result.best) + (&compared == best ? " *" : ""));
    row.push_back(compared.result.best_step ? absl::StrCat(*compared.result.best_step) : "-");
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  if (best != nullptr) {
    context.out() << "best: " << PlainText(best->job.name()) << ", "
                  << (measure.lower_is_better ? "lowest " : "highest ") << PlainText(measure.metric)
                  << " " << NumberText(best->result.best) << "\n";
  } else {
    context.out() << "no job has the metric " << PlainText(measure.metric) << " yet\n";
  }
  context.out().flush();
}

Json NumberJson(const std::optional<double>& value) {
  if (!value.has_value()) return Json();
  return std::isfinite(*value) ? Json(*value) : Json(FormatNumber(*value));
}

Json Document(const std::vector<Compared>& jobs, const Measure& measure, const Compared* best) {
  const std::vector<std::string> keys = DifferingKeys(jobs);
  Json document = {{"metric", measure.metric},
                   {"mode", measure.lower_is_better ? "min" : "max"},
                   {"best", best == nullptr ? Json() : Json(best->job.name())},
                   {"keys", keys},
                   {"jobs", Json::array()}};
  for (const Compared& compared : jobs) {
    Json config = Json::object();
    for (const std::string& key : keys) {
      const auto found = compared.config.find(key);
      config[key] = found == compared.config.end() ? Json() : found->second;
    }
    const auto& step = compared.result.best_step;
    document["jobs"].push_back({{"name", compared.job.name()},
                                {"display_name", compared.job.config().name()},
                                {"state", v1::Job::State_Name(compared.job.state())},
                                {"step", compared.job.progress().step()},
                                {"config", std::move(config)},
                                {"last", NumberJson(compared.result.last)},
                                {"best", NumberJson(compared.result.best)},
                                {"best_step", step.has_value() ? Json(*step) : Json()}});
  }
  return document;
}

absl::StatusOr<std::vector<Compared>> FindJobs(Connection& connection,
                                               const CompareOptions& options) {
  std::vector<Compared> jobs;
  if (!options.group.empty()) {
    v1::ListJobsRequest request;
    request.set_label_selector(GroupSelector(options.group));
    request.set_order_by("create_time");
    ASSIGN_OR_RETURN(const v1::ListJobsResponse all, ListAllJobs(connection, request, 0));
    for (const v1::Job& job : all.jobs()) jobs.push_back({.job = job});
    if (jobs.empty()) {
      return absl::NotFoundError(
          absl::StrCat("no job has the label group = ", LabelValueText(options.group)));
    }
  } else {
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     ResolveJobNames(connection, options.jobs));
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(v1::Job job, connection.GetJob(name));
      jobs.push_back({.job = std::move(job)});
    }
  }
  for (Compared& compared : jobs) Flatten(OutputJson(compared.job.config()), "", &compared.config);
  return jobs;
}

}  // namespace

int RunCompare(const CompareOptions& options, const Context& context) {
  if (options.jobs.empty() == options.group.empty())
    return PrintUsageError("compare needs jobs, or --group", context);
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  absl::StatusOr<std::vector<Compared>> jobs = FindJobs(**connection, options);
  if (!jobs.ok()) return PrintError(jobs.status(), context);
  const absl::StatusOr<Measure> measure = ChooseMeasure(**connection, options, *jobs);
  if (!measure.ok()) return PrintError(measure.status(), context);
  const absl::Status added = AddResults(**connection, *measure, &*jobs);
  if (!added.ok()) return PrintError(added, context);
  const Compared* best = BestOf(*jobs, *measure);
  if (IsForPeople(context.form)) {
    PrintTable(*jobs, *measure, best, context);
  } else {
    context.out() << JsonText(Document(*jobs, *measure, best),
                              /*pretty=*/context.form != OutputForm::kJsonl)
                  << std::endl;
  }
  return kDone;
}

}  // namespace trainerd::client
