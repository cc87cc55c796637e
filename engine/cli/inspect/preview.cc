// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect preview: the tokens and labels that the training loop reads, produced by the
// same code.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cli/inspect/commands.h"
#include "engine/cli/inspect/json_lines.h"
#include "engine/cli/inspect/token_texts.h"
#include "engine/data/batches/data_loader.h"
#include "engine/data/examples/example_pipeline.h"
#include "engine/data/examples/example_stream.h"
#include "engine/data/prepare.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/job_file/job_file.h"

namespace trainerd::engine {
namespace {

std::string LeftOutWord(const TokenRow& row) {
  if (row.fault) return "bad row";
  switch (row.left_out) {
    case LeftOut::kNo:
      return "";
    case LeftOut::kNoTarget:
      return "no target";
    case LeftOut::kTooLong:
      return "too long";
  }
  return "";
}

// Tokens before which a conversation is cut into pieces.
std::vector<int64_t> CutsOf(const TokenizedText& text, const v1::DataConfig& data) {
  std::vector<int64_t> cuts;
  if (!SplitsLongExamples(data.packing())) return cuts;
  const auto size = static_cast<int64_t>(text.example.ids.size());
  for (int64_t cut = data.max_length(); cut < size; cut += data.max_length()) cuts.push_back(cut);
  return cuts;
}

int64_t CutTokens(const TokenizedText& text) {
  return text.truncated ? text.num_tokens - static_cast<int64_t>(text.example.ids.size()) : 0;
}

// Of the tokens, unshifted as their labels; nothing if all are 1.
void AppendWeights(const std::vector<float>& weights, std::string* line) {
  if (weights.empty()) return;
  *line += ",\"weights\":";
  AppendJsonFloats(weights, line);
}

// The weights of a microbatch are those of the next tokens.
std::vector<float> UnshiftedWeights(const Microbatch& row) {
  if (row.weights.empty()) return {};
  std::vector<float> weights(row.ids.size(), 1.0f);
  for (size_t t = 0; t + 1 < row.ids.size(); ++t) {
    if (row.targets[t] != kIgnoreIndex) weights[t + 1] = row.weights[t];
  }
  return weights;
}

void AppendText(const TokenizedText& text, const v1::DataConfig& data, const Tokenizer& tokenizer,
                std::string* line) {
  *line += "\"text\":";
  AppendJsonString(text.text, line);
  *line += ",\"ids\":";
  AppendJsonInts(text.example.ids, line);
  *line += ",\"labels\":";
  AppendJsonInts(text.example.labels, line);
  AppendWeights(text.example.weights, line);
  AppendTokenTexts(SplitIntoTexts(text.example.ids, tokenizer), line);
  if (const std::vector<int64_t> cuts = CutsOf(text, data); !cuts.empty()) {
    *line += ",\"cuts\":";
    AppendJsonInts(cuts, line);
  }
  if (CutTokens(text) > 0) absl::StrAppend(line, ",\"cut_tokens\":", CutTokens(text));
}

// A pair is one line: its chosen answer as any other example, and "rejected", an object.
std::string ExampleLine(const TokenRow& row, const v1::DataConfig& data,
                        const Tokenizer& tokenizer) {
  std::string line = absl::StrCat("{\"index\":", row.example.index, ",");
  AppendText(row, data, tokenizer, &line);
  if (row.rejected) {
    line += ",\"rejected\":{";
    AppendText(*row.rejected, data, tokenizer, &line);
    line += "}";
  }
  const std::string left_out = LeftOutWord(row);
  if (!left_out.empty()) absl::StrAppend(&line, ",\"left_out\":\"", left_out, "\"");
  return line + "}\n";
}

std::string RenderedText(const TokenizedText& text, const char* answer, const TokenRow& row,
                         const v1::DataConfig& data, const Tokenizer& tokenizer) {
  const TokenExample& example = text.example;
  return RenderPreview({.example = example.index,
                        .answer = answer,
                        .left_out = LeftOutWord(row),
                        .ids = {example.ids.begin(), example.ids.end()},
                        .labels = {example.labels.begin(), example.labels.end()},
                        .weights = {example.weights.begin(), example.weights.end()},
                        .texts = SplitIntoTexts(example.ids, tokenizer),
                        .cuts = CutsOf(text, data),
                        .cut_tokens = CutTokens(text)},
                       /*color=*/true);
}

std::string ExampleText(const TokenRow& row, const v1::DataConfig& data,
                        const Tokenizer& tokenizer) {
  if (!row.rejected) return RenderedText(row, "", row, data, tokenizer);
  return RenderedText(row, kChosenAnswer, row, data, tokenizer) +
         RenderedText(*row.rejected, kRejectedAnswer, row, data, tokenizer);
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
            absl::StrCat(source.path(), ":", line + row.fault->lines_down,
                         row.fault->column > 0 ? absl::StrCat(":", row.fault->column) : "", ": ",
                         row.fault->message));
      }
      const std::string shown = options.json ? ExampleLine(row, config.data(), *text.tokenizer)
                                             : ExampleText(row, config.data(), *text.tokenizer);
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

// The texts of a packed sequence; no character crosses from one document to the next.
std::vector<TokenText> RowTexts(const Microbatch& row, const Tokenizer& tokenizer) {
  std::vector<TokenText> texts;
  for (size_t k = 0; k + 1 < row.cu_seqlens.size(); ++k) {
    const size_t begin = row.cu_seqlens[k];
    const auto ids = absl::MakeConstSpan(row.ids).subspan(begin, row.cu_seqlens[k + 1] - begin);
    for (TokenText& part : SplitIntoTexts(ids, tokenizer)) {
      part.begin += begin;
      part.end += begin;
      texts.push_back(std::move(part));
    }
  }
  return texts;
}

// For each document of sequence `row`, the tokens of its conversation that follow it; empty if no
// tokens follow any of them.
absl::StatusOr<std::vector<int64_t>> CutTokens(const PreparedData& data, const Microbatch& batch,
                                               int64_t row) {
  std::vector<int64_t> cut_tokens;
  bool any = false;
  for (int64_t k = 0; k < batch.num_documents(); ++k) {
    const Piece piece = data.train_sequences.document(row, k);
    ASSIGN_OR_RETURN(const ExampleRecord record, data.store->Record(piece.example));
    const auto i = static_cast<size_t>(k);
    const int64_t end = piece.begin + batch.cu_seqlens[i + 1] - batch.cu_seqlens[i];
    cut_tokens.push_back(record.tokens_before - end);
    any |= cut_tokens.back() > 0;
  }
  return any ? cut_tokens : std::vector<int64_t>();
}

// "digest" of a line covers this sequence and all before it: the digest of the last sequence of the
// first step is what training logs.
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
    HashTokens(row, &digest);
    std::string line = absl::StrCat("{\"row\":", i, ",\"index\":");
    AppendJsonInts(row.examples, &line);
    if (row.is_pairs) line += ",\"pairs\":true";
    line += ",\"cu_seqlens\":";
    AppendJsonInts(row.cu_seqlens, &line);
    line += ",\"ids\":";
    AppendJsonInts(row.ids, &line);
    line += ",\"labels\":";
    AppendJsonInts(row.labels, &line);
    AppendWeights(UnshiftedWeights(row), &line);
    AppendTokenTexts(RowTexts(row, *text.tokenizer), &line);
    ASSIGN_OR_RETURN(const std::vector<int64_t> cut_tokens, CutTokens(data, row, order[i]));
    if (!cut_tokens.empty()) {
      line += ",\"cut_tokens\":";
      AppendJsonInts(cut_tokens, &line);
    }
    absl::StrAppend(&line, ",\"digest\":\"", ToHex(digest.Digest()), "\"}\n");
    std::fwrite(line.data(), 1, line.size(), out);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPreview(const PreviewOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const v1::ResolvedJobConfig job,
                   ReadResolvedJob({.path = options.job_file, .home_dir = options.home_dir}));
  const v1::JobConfig& config = job.config();
  ASSIGN_OR_RETURN(const TextPipeline text, OpenTextPipeline(config));
  return options.packed ? PreviewRows(config, text, options, out)
                        : PreviewExamples(config, text, options, out);
}

}  // namespace trainerd::engine
