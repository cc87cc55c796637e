// SPDX-License-Identifier: Apache-2.0
// trainctl metrics: curves of a job, a column each.
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

constexpr int kTablePoints = 20;
constexpr int kDocumentPoints = 1000;

// A row per step. Curves have different steps: a cell can be absent.
struct Cell {
  double time = 0, last = 0, min = 0, max = 0;
};
using Rows = std::map<int64_t, std::map<int, Cell>>;

Rows RowsOf(const v1::QueryMetricsResponse& response) {
  Rows rows;
  for (int s = 0; s < response.series_size(); ++s) {
    const v1::MetricSeries& series = response.series(s);
    const bool has_range = series.min_size() == series.last_size();
    for (int i = 0; i < series.steps_size(); ++i) {
      const double last = series.last(i);
      rows[series.steps(i)][s] = {.time = series.times(i),
                                  .last = last,
                                  .min = has_range ? series.min(i) : last,
                                  .max = has_range ? series.max(i) : last};
    }
  }
  return rows;
}

std::string CellText(const Cell& cell, bool wide) {
  const std::string last = FormatNumber(cell.last);
  if (!wide || (cell.min == cell.max)) return last;
  return absl::StrCat(last, " (", FormatNumber(cell.min), " … ", FormatNumber(cell.max), ")");
}

void PrintTable(const v1::QueryMetricsResponse& response, const Context& context) {
  if (response.series().empty()) {
    if (context.talks()) context.out() << "no metrics\n";
    return;
  }
  std::vector<std::string> header = {"STEP"};
  for (const v1::MetricSeries& series : response.series())
    header.push_back(PlainText(series.metric()));
  Table table(std::move(header));
  for (const auto& [step, cells] : RowsOf(response)) {
    std::vector<std::string> row = {absl::StrCat(step)};
    for (int s = 0; s < response.series_size(); ++s) {
      const auto cell = cells.find(s);
      row.push_back(
          cell == cells.end() ? "-" : CellText(cell->second, context.form == OutputForm::kWide));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
}

// Every digit; nan, inf and -inf are what most readers of CSV know.
std::string Exact(double value) { return absl::StrFormat("%.17g", value); }

std::string Quoted(const std::string& text) {
  if (text.find_first_of("\",") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

void PrintCsv(const v1::QueryMetricsResponse& response, const Context& context) {
  std::vector<std::string> header = {"step", "time"};
  for (const v1::MetricSeries& series : response.series()) {
    header.push_back(Quoted(PlainText(series.metric())));
    if (series.min().empty()) continue;
    header.push_back(Quoted(PlainText(series.metric() + ".min")));
    header.push_back(Quoted(PlainText(series.metric() + ".max")));
  }
  context.out() << absl::StrJoin(header, ",") << "\n";
  for (const auto& [step, cells] : RowsOf(response)) {
    std::vector<std::string> row = {absl::StrCat(step),
                                    absl::StrFormat("%.6f", cells.begin()->second.time)};
    for (int s = 0; s < response.series_size(); ++s) {
      const bool has_range = !response.series(s).min().empty();
      const auto cell = cells.find(s);
      if (cell == cells.end()) {
        row.resize(row.size() + (has_range ? 3 : 1));
        continue;
      }
      row.push_back(Exact(cell->second.last));
      if (!has_range) continue;
      row.push_back(Exact(cell->second.min));
      row.push_back(Exact(cell->second.max));
    }
    context.out() << absl::StrJoin(row, ",") << "\n";
  }
}

}  // namespace

int RunMetrics(const MetricsOptions& options, const Context& context) {
  if (options.csv && context.form != OutputForm::kTable)
    return PrintUsageError("--csv and -o exclude each other", context);
  const absl::StatusOr<FoundJob> found = FindJob(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  v1::QueryMetricsRequest request;
  request.set_name(found->name);
  request.mutable_metrics()->Assign(options.metrics.begin(), options.metrics.end());
  request.set_min_step(options.min_step);
  request.set_max_step(options.max_step);
  request.set_attempt(options.attempt);
  const bool table = IsForPeople(context.form) && !options.csv;
  request.set_max_points(options.points > 0 ? options.points
                                            : (table ? kTablePoints : kDocumentPoints));
  const absl::StatusOr<v1::QueryMetricsResponse> response =
      found->connection->Call<v1::QueryMetricsResponse>(request);
  if (!response.ok()) return PrintError(response.status(), context);
  if (options.csv) {
    PrintCsv(*response, context);
  } else if (table) {
    PrintTable(*response, context);
  } else {
    PrintMessage(*response, context.form, context.out());
  }
  context.out().flush();
  return kDone;
}

}  // namespace trainerd::client
