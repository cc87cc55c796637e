// SPDX-License-Identifier: Apache-2.0
// A conversation as it is trained, and its human-readable form: text in which the trained part is
// marked. trainerd-inspect fills it from the data, trainctl from the lines that trainerd-inspect
// prints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trainerd {

// Label of a token that carries no loss.
inline constexpr int64_t kNotTrained = -100;

// The text of tokens [begin, end) of a conversation: of one token, or of all tokens that spell one
// character together.
struct TokenText {
  size_t begin = 0;
  size_t end = 0;
  // UTF-8; bytes that are not UTF-8 are U+FFFD.
  std::string text;
  // A token that the tokenizer flags special.
  bool special = false;
};

// PreviewItem::answer of a pair.
inline constexpr char kChosenAnswer[] = "chosen", kRejectedAnswer[] = "rejected";

struct PreviewItem {
  // 0-based position of the record over all files, in order.
  int64_t example = 0;
  // Which answer of a pair it ends with; "" = it is no pair. The two items of a pair are adjacent,
  // the chosen answer first.
  std::string answer;
  // Number of the packed sequence that the conversation is in; absent if it is shown by itself.
  std::optional<int64_t> row;
  // Why the conversation is not trained on; "" = it is.
  std::string left_out;
  std::vector<int64_t> ids;
  // As many as ids, unshifted.
  std::vector<int64_t> labels;
  // Factors of the losses of the trained tokens: as many as ids, or none if all are 1.
  std::vector<double> weights;
  // Cover all ids, in order.
  std::vector<TokenText> texts;
  // Tokens before which data.max_length cuts the conversation into pieces (packing: bfd_split);
  // rising.
  std::vector<int64_t> cuts;
  // Tokens of the conversation that follow the last of ids: data.max_length cut them off, or they
  // are in another sequence.
  int64_t cut_tokens = 0;
};

// "example 4", "row 0, example 4", "example 4, chosen".
std::string ItemTitle(const PreviewItem& item);
// The same without the row.
std::string ExampleTitle(const PreviewItem& item);

struct TrainingCounts {
  int64_t tokens = 0;
  int64_t trained = 0;
  void Add(const PreviewItem& item);
  // 0..1; 0 without tokens.
  double trained_share() const;
};
TrainingCounts CountTraining(const PreviewItem& item);
// "1,204 tokens, 310 trained (25 %)".
std::string CountsText(const TrainingCounts& counts);

// The mark of a cut: "data.max_length cuts here: 62 more tokens"; without a number for 0.
std::string CutText(int64_t cut_tokens);

// The mark of a weight: "weight 0.5".
std::string WeightText(double weight);

// Tokens [begin, end) of an item, which are all trained with one weight, or all not trained, and
// are not cut.
struct Segment {
  bool trained = false;
  double weight = 1;
  // One of PreviewItem::cuts is at its begin.
  bool after_cut = false;
  size_t begin = 0;
  size_t end = 0;
};
// Covers all tokens, in order.
std::vector<Segment> SplitByTraining(const PreviewItem& item);

// A title line with the counts, then the text. The trained part is green with `color`, in [[ ]]
// without. Cuts and weights other than 1 are marked. A character that several tokens spell belongs
// to the first of them. Control characters of the text are replaced (proto/base/plain_text.h).
std::string RenderPreview(const PreviewItem& item, bool color);

}  // namespace trainerd
