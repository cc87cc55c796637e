// SPDX-License-Identifier: Apache-2.0
#include "engine/data/batches/sequence_plan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "engine/data/batches/counter_rng.h"
#include "engine/data/batches/selection.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

// One call of PlanSequences.
class SequencePlanner {
 public:
  SequencePlanner(const v1::JobConfig& config, const TokenStore& store, Findings* findings)
      : config_(config),
        store_(store),
        findings_(findings),
        unit_(static_cast<uint32_t>(ExamplesPerRecord(config))) {}

  absl::StatusOr<SequencePlan> Run();

 private:
  // Documents to be packed, flat. A pair is one document here, named by its first example.
  struct Documents {
    std::vector<uint32_t> examples;
    std::vector<uint32_t> parts;  // as in PackedSequences
    std::vector<int32_t> lengths;
    int64_t tokens = 0, targets = 0;
  };

  void SplitValidation();
  absl::Status FindOverlap();
  // The training examples of an epoch, one that is seen twice twice; drops those that no weight
  // chooses from result_.train.
  absl::StatusOr<std::vector<uint32_t>> ApplyWeights();
  absl::StatusOr<Documents> MakeDocuments(const std::vector<uint32_t>& examples);
  absl::Status AddPieces(uint32_t example, const ExampleRecord& record, bool first_time,
                         Documents* documents);
  absl::StatusOr<PackedSequences> Pack(const Documents& documents) const;
  // Calls `take` for each of `examples`, which rise, with its record.
  absl::Status ForEach(const std::vector<uint32_t>& examples,
                       const std::function<absl::Status(uint32_t, const ExampleRecord&)>& take);

  const v1::JobConfig& config_;
  const TokenStore& store_;
  Findings* const findings_;
  // Examples that are chosen and packed together: 2 if they are pairs.
  const uint32_t unit_;
  SequencePlan result_;
};

// Consecutive examples are read together: records lie in blocks.
absl::Status SequencePlanner::ForEach(
    const std::vector<uint32_t>& examples,
    const std::function<absl::Status(uint32_t, const ExampleRecord&)>& take) {
  if (examples.empty()) return absl::OkStatus();
  size_t next = 0;
  return store_.ForEachRecord(examples.front(), int64_t{examples.back()} + 1,
                              [&](int64_t example, const ExampleRecord& record) {
                                while (next < examples.size() && examples[next] == example) {
                                  RETURN_IF_ERROR(take(examples[next], record));
                                  ++next;
                                }
                                return absl::OkStatus();
                              });
}

void SequencePlanner::SplitValidation() {
  const int64_t examples = store_.summary().train().examples();
  const int64_t count = examples / unit_;
  result_.train.resize(static_cast<size_t>(examples));
  std::iota(result_.train.begin(), result_.train.end(), 0u);
  for (int64_t i = examples; i < store_.size(); ++i) {
    result_.validation.push_back(static_cast<uint32_t>(i));
  }
  const double share = config_.data().validation_fraction();
  if (!(share > 0) || count < 2) return;
  const int64_t chosen =
      std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, count - 1);
  const CounterRng rng(config_.train().seed(), RngPurpose::kValidationSplit, 0);
  std::vector<bool> moved(static_cast<size_t>(count), false);
  for (const int64_t i : ChooseSeeded(count, chosen, rng)) {
    moved[static_cast<size_t>(i)] = true;
    for (uint32_t k = 0; k < unit_; ++k) {
      result_.validation.push_back(static_cast<uint32_t>(i) * unit_ + k);
    }
  }
  std::erase_if(result_.train, [&](uint32_t i) { return moved[i / unit_]; });
}

absl::Status SequencePlanner::FindOverlap() {
  if (result_.validation.empty()) return absl::OkStatus();
  std::vector<uint64_t> hashes;
  hashes.reserve(result_.train.size());
  RETURN_IF_ERROR(ForEach(result_.train, [&](uint32_t, const ExampleRecord& record) {
    hashes.push_back(record.text_hash);
    return absl::OkStatus();
  }));
  std::sort(hashes.begin(), hashes.end());
  return ForEach(result_.validation, [&](uint32_t example, const ExampleRecord& record) {
    // Both of a pair have the pair's hash.
    if (example % unit_ != 0 ||
        !std::binary_search(hashes.begin(), hashes.end(), record.text_hash)) {
      return absl::OkStatus();
    }
    findings_->Add(
        "OVERLAP", false, {.file = record.file, .line = record.line},
        "validation conversation is also in the training data, so the validation loss will be too "
        "low; remove it from one of the two");
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<uint32_t>> SequencePlanner::ApplyWeights() {
  const auto& sources = config_.data().train();
  const auto weight_of = [](const v1::DataSource& source) {
    return source.has_weight() ? source.weight() : 1.0;
  };
  if (std::all_of(sources.begin(), sources.end(),
                  [&](const v1::DataSource& source) { return weight_of(source) == 1.0; })) {
    return result_.train;
  }
  std::vector<int64_t> counts(static_cast<size_t>(sources.size()), 0);
  RETURN_IF_ERROR(ForEach(result_.train, [&](uint32_t example, const ExampleRecord& record) {
    if (example % unit_ != 0) return absl::OkStatus();
    if (record.file < 0 || record.file >= sources.size()) {
      return absl::DataLossError("the token store names a file that the job does not have");
    }
    ++counts[static_cast<size_t>(record.file)];
    return absl::OkStatus();
  }));
  // Files stand behind each other in the store.
  std::vector<uint32_t> occurrences, kept;
  size_t at = 0;
  for (int i = 0; i < sources.size(); ++i) {
    const CounterRng rng(config_.train().seed(), RngPurpose::kSourceWeight, i);
    for (const int32_t times :
         CopiesForWeight(counts[static_cast<size_t>(i)], weight_of(sources[i]), rng)) {
      const uint32_t first = result_.train[at];
      at += unit_;
      for (uint32_t k = 0; k < unit_ && times > 0; ++k) kept.push_back(first + k);
      for (uint32_t k = 0; k < unit_; ++k) {
        for (int32_t time = 0; time < times; ++time) occurrences.push_back(first + k);
      }
    }
  }
  result_.train = std::move(kept);
  return occurrences;
}

// The pieces of a conversation that is longer than a row, but those of which no token is a target.
absl::Status SequencePlanner::AddPieces(uint32_t example, const ExampleRecord& record,
                                        bool first_time, Documents* documents) {
  const int64_t row_tokens = config_.data().max_length();
  ASSIGN_OR_RETURN(const TokenExample tokens, store_.Read(example));
  const int64_t size = static_cast<int64_t>(tokens.labels.size());
  for (int64_t begin = 0; begin < size; begin += row_tokens) {
    const int64_t end = std::min(size, begin + row_tokens);
    // The first token of a piece has no predecessor to be predicted from.
    const int64_t targets =
        (end - begin - 1) -
        std::count(tokens.labels.begin() + begin + 1, tokens.labels.begin() + end, kIgnoreIndex);
    if (targets == 0) {
      if (first_time) {
        findings_->Add("UNTRAINED_PIECE", false, {.file = record.file, .line = record.line},
                       "a piece of a conversation longer than data.max_length has no token to "
                       "train: skipped");
      }
      continue;
    }
    documents->examples.push_back(example);
    documents->parts.push_back(static_cast<uint32_t>(begin / row_tokens));
    documents->lengths.push_back(static_cast<int32_t>(end - begin));
    documents->tokens += end - begin;
    documents->targets += targets;
  }
  return absl::OkStatus();
}

absl::StatusOr<SequencePlanner::Documents> SequencePlanner::MakeDocuments(
    const std::vector<uint32_t>& examples) {
  const bool split = SplitsLongExamples(config_.data().packing());
  Documents documents;
  documents.examples.reserve(examples.size());
  documents.lengths.reserve(examples.size());
  int64_t before = -1;
  size_t incomplete = 0;  // the first document that lacks its rejected answer
  RETURN_IF_ERROR(ForEach(examples, [&](uint32_t example, const ExampleRecord& record) {
    const bool first_time = std::exchange(before, int64_t{example}) != int64_t{example};
    if (split && record.num_tokens > config_.data().max_length()) {
      documents.parts.resize(documents.examples.size(), 0);
      return AddPieces(example, record, first_time, &documents);
    }
    documents.tokens += record.num_tokens;
    documents.targets += record.num_targets;
    // What is seen twice is listed twice: both chosen answers, then both rejected ones.
    if (example % unit_ != 0) {
      documents.lengths[incomplete++] += record.num_tokens;
      return absl::OkStatus();
    }
    documents.examples.push_back(example);
    documents.lengths.push_back(record.num_tokens);
    return absl::OkStatus();
  }));
  if (!documents.parts.empty()) documents.parts.resize(documents.examples.size(), 0);
  return documents;
}

absl::StatusOr<PackedSequences> SequencePlanner::Pack(const Documents& documents) const {
  PackedSequences rows;
  if (!PacksDocuments(config_.data().packing())) {
    rows = OneDocumentRows(static_cast<int64_t>(documents.examples.size()));
  } else {
    ASSIGN_OR_RETURN(rows, PackBestFitDecreasing(documents.lengths, PackedTokens(config_)));
  }
  if (unit_ == 2) {
    rows.RenameAsPairs(documents.examples);
  } else if (documents.parts.empty()) {
    rows.Rename(documents.examples);
  } else {
    rows.Rename(documents.examples, documents.parts, config_.data().max_length());
  }
  return rows;
}

absl::StatusOr<SequencePlan> SequencePlanner::Run() {
  SplitValidation();
  RETURN_IF_ERROR(FindOverlap());
  {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> occurrences, ApplyWeights());
    ASSIGN_OR_RETURN(const Documents documents, MakeDocuments(occurrences));
    result_.row_tokens = documents.tokens;
    result_.target_tokens = documents.targets;
    ASSIGN_OR_RETURN(result_.train_sequences, Pack(documents));
  }
  ASSIGN_OR_RETURN(const Documents documents, MakeDocuments(result_.validation));
  ASSIGN_OR_RETURN(result_.validation_rows, Pack(documents));
  return std::move(result_);
}

}  // namespace

absl::StatusOr<SequencePlan> PlanSequences(const v1::JobConfig& config, const TokenStore& store,
                                           Findings* findings) {
  return SequencePlanner(config, store, findings).Run();
}

}  // namespace trainerd::engine
