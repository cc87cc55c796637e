// SPDX-License-Identifier: Apache-2.0
// trainctl preview: what the job trains on. The rows come from trainerd-inspect, the code that
// trains; here they are only shown. Runs without a daemon.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/commands/commands.h"
#include "client/inspect.h"
#include "client/job_file.h"
#include "client/preview_text.h"
#include "client/status_details.h"
#include "client/text_width.h"
#include "proto/contract/status_macros.h"

namespace trainerd::client {
namespace {

using nlohmann::json;

absl::StatusOr<std::vector<json>> ParseLines(const std::string& text) {
  std::vector<json> rows;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    json row = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!row.is_object())
      return absl::InternalError(absl::StrCat(
          "trainerd-inspect printed what is not a JSON object: ", line.substr(0, 200)));
    rows.push_back(std::move(row));
  }
  return rows;
}

// A list of whole numbers under `key`.
absl::StatusOr<std::vector<int64_t>> Numbers(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_array())
    return absl::InternalError(
        absl::StrCat("trainerd-inspect printed a row without a list \"", key, "\""));
  std::vector<int64_t> numbers;
  for (const json& number : *found) {
    if (!number.is_number_integer())
      return absl::InternalError(
          absl::StrCat("trainerd-inspect printed other than whole numbers in \"", key, "\""));
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

std::string Word(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

absl::StatusOr<std::vector<PreviewItem>> Examples(const std::vector<json>& rows) {
  std::vector<PreviewItem> items;
  for (const json& row : rows) {
    PreviewItem item;
    item.title = absl::StrCat("example ", Word(row, "index"));
    if (const std::string why = Word(row, "left_out"); !why.empty())
      absl::StrAppend(&item.title, " (left out: ", why, ")");
    ASSIGN_OR_RETURN(item.ids, Numbers(row, "ids"));
    ASSIGN_OR_RETURN(item.labels, Numbers(row, "labels"));
    items.push_back(std::move(item));
  }
  return items;
}

// A packed row is shown as its conversations.
absl::StatusOr<std::vector<PreviewItem>> PackedRows(const std::vector<json>& rows) {
  std::vector<PreviewItem> items;
  for (const json& row : rows) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, Numbers(row, "ids"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> labels, Numbers(row, "labels"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> bounds, Numbers(row, "cu_seqlens"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> indices, Numbers(row, "index"));
    for (size_t k = 0; k + 1 < bounds.size(); ++k) {
      const int64_t begin = bounds[k];
      const int64_t end = bounds[k + 1];
      if (begin < 0 || end < begin || end > static_cast<int64_t>(ids.size()) ||
          ids.size() != labels.size() || k >= indices.size()) {
        return absl::InternalError(absl::StrCat(
            "trainerd-inspect printed a packed row whose lists do not fit together: row ",
            Word(row, "row")));
      }
      items.push_back({.title = absl::StrCat("row ", Word(row, "row"), ", example ", indices[k]),
                       .ids = {ids.begin() + begin, ids.begin() + end},
                       .labels = {labels.begin() + begin, labels.begin() + end}});
    }
  }
  return items;
}

absl::Status FailedInspect(const ProcessResult& result) {
  const std::string why = result.errors.empty()
                              ? absl::StrCat("trainerd-inspect left with code ", result.exit_code)
                              : result.errors;
  return result.exit_code == kUsage ? absl::InvalidArgumentError(why) : absl::InternalError(why);
}

// Token ids → text by `trainerd-inspect tokenize --decode`.
DecodeTexts Decoder(const Environment& env, const std::string& tokenizer) {
  return [&env, tokenizer](const std::vector<std::vector<int64_t>>& lists)
             -> absl::StatusOr<std::vector<std::string>> {
    std::string lines;
    for (size_t i = 0; i < lists.size(); ++i)
      absl::StrAppend(&lines, "{\"id\":", i, ",\"ids\":[", absl::StrJoin(lists[i], ","), "]}\n");
    ASSIGN_OR_RETURN(const TemporaryFile input, TemporaryFile::Create(lines, ".jsonl"));
    ASSIGN_OR_RETURN(const ProcessResult result,
                     RunInspect(env, {"tokenize", "--tokenizer", tokenizer, "--input", input.path(),
                                      "--decode"}));
    if (result.exit_code != 0) return FailedInspect(result);
    ASSIGN_OR_RETURN(const std::vector<json> rows, ParseLines(result.output));
    std::vector<std::string> texts;
    for (const json& row : rows) texts.push_back(Word(row, "text"));
    return texts;
  };
}

absl::Status Show(const std::string& output, const JobFile& job, const PreviewOptions& options,
                  const Context& context) {
  if (options.json || context.form == OutputForm::kJsonl) {
    context.out() << output;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<json> rows, ParseLines(output));
  if (!IsForPeople(context.form)) {
    // One document; JSON is YAML as well.
    context.out() << json(rows).dump() << "\n";
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<PreviewItem> items,
                   options.packed ? PackedRows(rows) : Examples(rows));
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
  const absl::StatusOr<InspectJob> file = InspectJob::Create(*job, !options.sets.empty());
  if (!file.ok()) return PrintError(file.status(), context.err());
  std::vector<std::string> arguments = {
      "preview", "--job", file->path(), "--limit", absl::StrCat(options.limit), "--json"};
  if (options.packed) arguments.push_back("--packed");
  const absl::StatusOr<ProcessResult> result = RunInspect(context.env, arguments);
  if (!result.ok()) return PrintError(result.status(), context.err());
  if (result->exit_code != 0) return PrintError(FailedInspect(*result), context.err());
  // What it warned of is for the user too.
  context.err() << PlainTextLines(result->errors);
  const absl::Status shown = Show(result->output, *job, options, context);
  context.out().flush();
  return shown.ok() ? kDone : PrintError(shown, context.err());
}

}  // namespace trainerd::client
