// SPDX-License-Identifier: Apache-2.0
// trainctl preview: what the job trains on, as printed by trainerd-inspect, which shares the code
// with training. Works without a daemon.
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/preview/inspect.h"
#include "client/preview/preview_html.h"
#include "client/preview/preview_items.h"
#include "client/preview/preview_page.h"
#include "proto/base/atomic_file.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/job/preview_text.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::client {
namespace {

using nlohmann::json;

// The umask applies, as for any file that a user names.
constexpr int kPageMode = 0666;

// Advice for an error about a record, which names "file:line" of a training file. With too_long:
// fail, the error may be one that bad_rows does not skip.
std::string BadRowAdvice(const std::string& errors, const v1::DataConfig& data) {
  if (SkipsBadRecords(data.bad_rows()) || data.too_long() == v1::DataConfig::TOO_LONG_FAIL)
    return "";
  if (absl::StrContains(errors, "data.bad_rows")) return "";
  // A record of the wrong kind for the job is not skipped.
  if (absl::StrContains(errors, "a job with preference")) return "";
  for (const v1::DataSource& source : data.train()) {
    const std::string file = source.path() + ":";
    const size_t at = errors.find(file);
    if (at == std::string::npos || at + file.size() >= errors.size()) continue;
    if (absl::ascii_isdigit(static_cast<unsigned char>(errors[at + file.size()])))
      return "; fix the record, or set data.bad_rows: skip";
  }
  return "";
}

absl::StatusOr<std::vector<PreviewItem>> ReadItems(const std::vector<json>& rows,
                                                   const PreviewOptions& options) {
  return options.packed ? ReadPackedRows(rows) : ReadExamples(rows);
}

// Writes the page and prints its path and summary.
absl::Status WritePage(const std::vector<json>& rows, const JobFile& job,
                       const PreviewOptions& options, const Context& context) {
  ASSIGN_OR_RETURN(std::vector<PreviewItem> items, ReadItems(rows, options));
  const PreviewPage page = DescribePage(job, options, rows.size(), std::move(items));
  const std::string path = PagePath(*options.html, context.env);
  RETURN_IF_ERROR(
      Annotate(WriteFileAtomic(path, RenderPreviewPage(page), kPageMode), "cannot write the page"));
  const PreviewSummary sum = SumUp(page.items);
  if (IsForPeople(context.form)) {
    context.out() << PlainText(absl::StrCat(path, ": ", page.extent, ", ", CountsText(sum.counts)))
                  << "\n";
    return absl::OkStatus();
  }
  const json document = {{"html", path},
                         {"shown", rows.size()},
                         {"trained_on", sum.trained_on},
                         {"left_out", sum.left_out},
                         {"tokens", sum.counts.tokens},
                         {"trained_tokens", sum.counts.trained}};
  // A path may contain bytes that are not UTF-8.
  context.out() << EscapedJson(document.dump(-1, ' ', false, json::error_handler_t::replace))
                << "\n";
  return absl::OkStatus();
}

absl::Status Show(const std::string& output, const JobFile& job, const PreviewOptions& options,
                  const Context& context) {
  if (!options.html && (options.json || context.form == OutputForm::kJsonl)) {
    context.out() << EscapedJson(output);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<json> rows, ParseJsonLines(output));
  if (options.html) return WritePage(rows, job, options, context);
  if (!IsForPeople(context.form)) {
    // One document; JSON is also YAML.
    context.out() << EscapedJson(json(rows).dump()) << "\n";
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<PreviewItem> items, ReadItems(rows, options));
  for (const PreviewItem& item : items) context.out() << RenderPreview(item, context.env.color);
  return absl::OkStatus();
}

}  // namespace

int RunPreview(const PreviewOptions& options, const Context& context) {
  const std::optional<JobFile> job = ReadJob({.file = options.file, .sets = options.sets}, context);
  if (!job) return kUsage;
  if (options.html) {
    // An unusable path is reported before the work.
    const absl::Status usable = CheckPagePath(PagePath(*options.html, context.env));
    if (!usable.ok()) return PrintError(usable, context);
  }
  const InspectJob file = JobForInspect(*job, !options.sets.empty());
  std::vector<std::string> arguments = {
      "preview", "--job", file.path, "--limit", absl::StrCat(options.limit), "--json"};
  if (options.packed) arguments.push_back("--packed");
  const absl::StatusOr<ProcessResult> result = RunInspect(context.env, arguments, file.input);
  if (!result.ok()) return PrintError(result.status(), context);
  if (result->exit.code != 0) {
    return PrintError(FailedInspect(*result, BadRowAdvice(result->err, job->config.data())),
                      context);
  }
  // Warnings of trainerd-inspect.
  context.err() << PlainTextLines(result->err);
  const absl::Status shown = Show(result->out, *job, options, context);
  context.out().flush();
  return shown.ok() ? kDone : PrintError(shown, context);
}

}  // namespace trainerd::client
