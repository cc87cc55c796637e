// SPDX-License-Identifier: Apache-2.0
// trainctl preview: what the job trains on. The rows come from trainerd-inspect, the code that
// trains; here they are only shown. Runs without a daemon.
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/job_file.h"
#include "client/net/status_details.h"
#include "client/preview/inspect.h"
#include "client/preview/preview_html.h"
#include "client/preview/preview_items.h"
#include "client/preview/preview_page.h"
#include "client/preview/preview_text.h"
#include "client/view/text_width.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

using nlohmann::json;

// Made for a reader, like any file that a program is told to write: less the umask.
constexpr int kPageMode = 0666;

absl::Status FailedInspect(const ProcessResult& result, const std::string& advice = "") {
  std::string why(absl::StripTrailingAsciiWhitespace(result.err));
  if (why.empty()) why = absl::StrCat("trainerd-inspect ended with ", result.exit.ToString());
  absl::StrAppend(&why, advice);
  return result.exit.code == kUsage ? absl::InvalidArgumentError(why) : absl::InternalError(why);
}

// What the job itself would say of a row that cannot be used. That it was a row shows in
// "file:line" of a training file; with too_long: fail it may be one that bad_rows does not leave
// out.
std::string BadRowAdvice(const std::string& errors, const v1::DataConfig& data) {
  if (data.bad_rows() == "skip" || data.too_long() == "fail") return "";
  if (absl::StrContains(errors, "data.bad_rows")) return "";
  for (const v1::DataSource& source : data.train()) {
    const std::string file = source.path() + ":";
    const size_t at = errors.find(file);
    if (at == std::string::npos || at + file.size() >= errors.size()) continue;
    if (absl::ascii_isdigit(static_cast<unsigned char>(errors[at + file.size()])))
      return "; data.bad_rows: skip leaves such rows out";
  }
  return "";
}

// Token ids → text by `trainerd-inspect tokenize --decode`.
DecodeTokens Decoder(const Environment& env, const std::string& tokenizer) {
  return [&env, tokenizer](const std::vector<std::vector<int64_t>>& lists)
             -> absl::StatusOr<std::vector<DecodedTokens>> {
    std::string lines;
    for (size_t i = 0; i < lists.size(); ++i)
      absl::StrAppend(&lines, "{\"id\":", i, ",\"ids\":[", absl::StrJoin(lists[i], ","), "]}\n");
    ASSIGN_OR_RETURN(
        const ProcessResult result,
        RunInspect(env,
                   {"tokenize", "--tokenizer", tokenizer, "--input", kChildInputPath, "--decode"},
                   lines));
    if (result.exit.code != 0) return FailedInspect(result);
    ASSIGN_OR_RETURN(const std::vector<json> rows, ParseJsonLines(result.out));
    std::vector<DecodedTokens> decoded;
    for (const json& row : rows)
      decoded.push_back({.text = WordOf(row, "text"), .special = row.contains("special")});
    return decoded;
  };
}

absl::StatusOr<std::vector<PreviewItem>> ReadItems(const std::vector<json>& rows,
                                                   const PreviewOptions& options) {
  return options.packed ? ReadPackedRows(rows) : ReadExamples(rows);
}

// Writes the page and prints where it lies and what it sums up.
absl::Status WritePage(const std::vector<json>& rows, const JobFile& job,
                       const PreviewOptions& options, const Context& context) {
  ASSIGN_OR_RETURN(std::vector<PreviewItem> items, ReadItems(rows, options));
  const PreviewPage page = DescribePage(job, options, rows.size(), std::move(items));
  ASSIGN_OR_RETURN(const std::string html,
                   RenderPreviewPage(page, Decoder(context.env, job.config.model().path())));
  const std::string path = PagePath(*options.html, context.env);
  RETURN_IF_ERROR(Annotate(WriteFileAtomic(path, html, kPageMode), "cannot write the page"));
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
  // A path may be no UTF-8.
  context.out() << document.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  return absl::OkStatus();
}

absl::Status Show(const std::string& output, const JobFile& job, const PreviewOptions& options,
                  const Context& context) {
  if (!options.html && (options.json || context.form == OutputForm::kJsonl)) {
    context.out() << output;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<json> rows, ParseJsonLines(output));
  if (options.html) return WritePage(rows, job, options, context);
  if (!IsForPeople(context.form)) {
    // One document; JSON is YAML as well.
    context.out() << json(rows).dump() << "\n";
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<PreviewItem> items, ReadItems(rows, options));
  ASSIGN_OR_RETURN(
      const std::string text,
      RenderPreview(items, Decoder(context.env, job.config.model().path()), context.env.color));
  context.out() << text;
  return absl::OkStatus();
}

}  // namespace

int RunPreview(const PreviewOptions& options, const Context& context) {
  const absl::StatusOr<JobFile> job =
      LoadJobFile({.path = options.file, .sets = options.sets}, context.env);
  if (!job.ok()) return PrintError(job.status(), context.err());
  if (!job->violations.empty()) {
    PrintViolations(job->violations, job->path, context.err());
    return kUsage;
  }
  if (options.html) {
    // Before the work, not after it.
    const absl::Status usable = CheckPagePath(PagePath(*options.html, context.env));
    if (!usable.ok()) return PrintError(usable, context.err());
  }
  const InspectJob file = JobForInspect(*job, !options.sets.empty());
  std::vector<std::string> arguments = {
      "preview", "--job", file.path, "--limit", absl::StrCat(options.limit), "--json"};
  if (options.packed) arguments.push_back("--packed");
  const absl::StatusOr<ProcessResult> result = RunInspect(context.env, arguments, file.input);
  if (!result.ok()) return PrintError(result.status(), context.err());
  if (result->exit.code != 0) {
    return PrintError(FailedInspect(*result, BadRowAdvice(result->err, job->config.data())),
                      context.err());
  }
  // What it warned of is for the user too.
  context.err() << PlainTextLines(result->err);
  const absl::Status shown = Show(result->out, *job, options, context);
  context.out().flush();
  return shown.ok() ? kDone : PrintError(shown, context.err());
}

}  // namespace trainerd::client
