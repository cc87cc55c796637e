// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect preview: what the training loop will see, made by the code that makes it for
// training.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cli/inspect/commands.h"
#include "engine/cli/inspect/job_file.h"
#include "engine/cli/inspect/json_lines.h"
#include "engine/data/batches/data_loader.h"
#include "engine/data/examples/example_pipeline.h"
#include "engine/data/examples/example_stream.h"
#include "engine/data/prepare.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

constexpr char kTrainedOn[] = "\x1b[32m", kTrainedOff[] = "\x1b[0m", kDim[] = "\x1b[2m";

const char* LeftOutWord(LeftOut left_out) {
  switch (left_out) {
    case LeftOut::kNo:
      return "";
    case LeftOut::kNoTarget:
      return "no target";
    case LeftOut::kTooLong:
      return "too long";
  }
  return "";
}

std::string ExampleLine(const TokenRow& row) {
  std::string line = absl::StrCat("{\"index\":", row.example.index, ",\"text\":");
  AppendJsonString(row.text, &line);
  line += ",\"ids\":";
  AppendJsonInts(row.example.ids, &line);
  line += ",\"labels\":";
  AppendJsonInts(row.example.labels, &line);
  if (row.fault) {
    line += ",\"left_out\":\"bad row\"";
  } else if (row.left_out != LeftOut::kNo) {
    absl::StrAppend(&line, ",\"left_out\":\"", LeftOutWord(row.left_out), "\"");
  }
  return line + "}\n";
}

// The decoded tokens, those that are trained in green.
std::string FormatExample(const TokenRow& row, const Tokenizer& tokenizer) {
  std::string text =
      absl::StrCat(kDim, "── example ", row.example.index, ": ", row.example.ids.size(),
                   " tokens, ", row.num_targets, " trained",
                   row.left_out == LeftOut::kNo ? "" : ", left out: ", LeftOutWord(row.left_out),
                   kTrainedOff, "\n");
  const std::vector<int32_t>& ids = row.example.ids;
  for (size_t begin = 0; begin < ids.size();) {
    const bool trained = row.example.labels[begin] != kIgnoreIndex;
    size_t end = begin;
    while (end < ids.size() && (row.example.labels[end] != kIgnoreIndex) == trained) ++end;
    const std::string run = tokenizer.Decode(absl::MakeConstSpan(ids).subspan(begin, end - begin));
    absl::StrAppend(&text, trained ? kTrainedOn : "", run, trained ? kTrainedOff : "");
    begin = end;
  }
  return text + "\n";
}

absl::Status PreviewExamples(const v1::JobConfig& config, const TextPipeline& text,
                             const PreviewOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ExamplePipeline> pipeline,
                   ExamplePipeline::Create(config, text));
  int64_t printed = 0;
  for (const v1::DataSource& source : config.data().train()) {
    const auto print = [&](TokenRow row, int64_t line) {
      if (row.fault && (row.fault->fatal || !SkipsBadRecords(config.data().bad_rows()))) {
        return absl::InvalidArgumentError(
            absl::StrCat(source.path(), ":", line,
                         row.fault->column > 0 ? absl::StrCat(":", row.fault->column) : "", ": ",
                         row.fault->message));
      }
      const std::string shown =
          options.json ? ExampleLine(row) : FormatExample(row, *text.tokenizer);
      std::fwrite(shown.data(), 1, shown.size(), out);
      ++printed;
      return absl::OkStatus();
    };
    if (printed >= options.limit) break;
    const RowStreamOptions stream{.num_threads = DefaultRowThreads(),
                                  .keep_text = true,
                                  .first_index = printed,
                                  .max_rows = options.limit - printed};
    const auto format = StreamRows(source.path(), *pipeline, stream, print,
                                   [](int64_t) { return absl::OkStatus(); });
    if (!format.ok()) return format.status();
  }
  return absl::OkStatus();
}

// `digest` of a line covers this row and all before it: that of the last of the first step's rows
// is what training logs.
absl::Status PreviewRows(const v1::JobConfig& config, const TextPipeline& text,
                         const PreviewOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const PreparedData data,
                   PrepareData(config, text, nullptr,
                               {.cache_folder = options.cache_folder,
                                .scratch_folder = options.scratch_folder}));
  const DataLoader loader(*data.store, data.train_sequences, LoaderOptions(config));
  const std::vector<int64_t> order = loader.EpochOrder(0);
  Xxh3Stream digest;
  for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < options.limit; ++i) {
    ASSIGN_OR_RETURN(const Microbatch row,
                     MakeMicrobatch(*data.store, data.train_sequences, {order[i]}));
    digest.Update(row.ids.data(), row.ids.size() * sizeof(int32_t));
    digest.Update(row.labels.data(), row.labels.size() * sizeof(int32_t));
    std::string line = absl::StrCat("{\"row\":", i, ",\"index\":");
    AppendJsonInts(row.examples, &line);
    line += ",\"cu_seqlens\":";
    AppendJsonInts(row.cu_seqlens, &line);
    line += ",\"ids\":";
    AppendJsonInts(row.ids, &line);
    line += ",\"labels\":";
    AppendJsonInts(row.labels, &line);
    absl::StrAppend(&line, ",\"digest\":\"", ToHex(digest.Digest()), "\"}\n");
    std::fwrite(line.data(), 1, line.size(), out);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPreview(const PreviewOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const v1::JobConfig config, ReadJobFile(options.job_file));
  ASSIGN_OR_RETURN(const TextPipeline text, OpenTextPipeline(config));
  return options.packed ? PreviewRows(config, text, options, out)
                        : PreviewExamples(config, text, options, out);
}

}  // namespace trainerd::engine
