// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/preview_text.h"

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"

namespace trainerd {
namespace {

constexpr char kGreen[] = "\x1b[32m";
constexpr char kBold[] = "\x1b[1m";
constexpr char kOff[] = "\x1b[0m";

bool IsTrained(const PreviewItem& item, size_t token) { return item.labels[token] != kNotTrained; }

std::string Mark(const std::string& text, bool trained, bool color) {
  const std::string plain = PlainTextLines(text);
  if (!trained) return plain;
  return color ? absl::StrCat(kGreen, plain, kOff) : absl::StrCat("[[", plain, "]]");
}

double WeightOf(const PreviewItem& item, size_t token) {
  return item.weights.empty() || !IsTrained(item, token) ? 1 : item.weights[token];
}

std::string CutMark(int64_t cut_tokens, bool color) {
  return absl::StrCat(color ? kBold : "", "[", CutText(cut_tokens), "]", color ? kOff : "");
}

}  // namespace

std::string CutText(int64_t cut_tokens) {
  std::string text = "data.max_length cuts here";
  if (cut_tokens == 0) return text;
  return absl::StrCat(text, ": ", FormatCount(cut_tokens), " more token",
                      cut_tokens == 1 ? "" : "s");
}

std::string ExampleTitle(const PreviewItem& item) {
  return absl::StrCat("example ", item.example, item.answer.empty() ? "" : ", ", item.answer);
}

std::string WeightText(double weight) {
  return absl::StrCat("weight ", FormatShortest(static_cast<float>(weight)));
}

std::string ItemTitle(const PreviewItem& item) {
  const std::string example = ExampleTitle(item);
  return item.row.has_value() ? absl::StrCat("row ", *item.row, ", ", example) : example;
}

void TrainingCounts::Add(const PreviewItem& item) {
  tokens += static_cast<int64_t>(item.ids.size());
  for (size_t i = 0; i < item.ids.size(); ++i) trained += IsTrained(item, i) ? 1 : 0;
}

double TrainingCounts::trained_share() const {
  return tokens == 0 ? 0 : static_cast<double>(trained) / static_cast<double>(tokens);
}

TrainingCounts CountTraining(const PreviewItem& item) {
  TrainingCounts counts;
  counts.Add(item);
  return counts;
}

std::string CountsText(const TrainingCounts& counts) {
  return absl::StrCat(Counted(counts.tokens, "token"), ", ", FormatCount(counts.trained),
                      " trained (", FormatPercent(counts.trained_share()), ")");
}

std::vector<Segment> SplitByTraining(const PreviewItem& item) {
  std::vector<Segment> segments;
  auto cut = item.cuts.begin();
  for (size_t i = 0; i < item.ids.size(); ++i) {
    const bool trained = IsTrained(item, i);
    const bool cut_here = cut != item.cuts.end() && static_cast<size_t>(*cut) == i;
    if (cut_here) ++cut;
    const double weight = WeightOf(item, i);
    if (segments.empty() || segments.back().trained != trained ||
        segments.back().weight != weight || cut_here) {
      segments.push_back({.trained = trained, .weight = weight, .after_cut = cut_here, .begin = i});
    }
    segments.back().end = i + 1;
  }
  return segments;
}

std::string RenderPreview(const PreviewItem& item, bool color) {
  const std::string left_out =
      item.left_out.empty() ? "" : absl::StrCat(" (skipped: ", PlainText(item.left_out), ")");
  std::string result = absl::StrCat(color ? kBold : "", "--- ", ItemTitle(item), left_out, ": ",
                                    CountsText(CountTraining(item)), color ? kOff : "", "\n");
  size_t next = 0;
  for (const Segment& segment : SplitByTraining(item)) {
    std::string run;
    for (; next < item.texts.size() && item.texts[next].begin < segment.end; ++next)
      run += item.texts[next].text;
    if (segment.after_cut) result += CutMark(0, color);
    // A character that began in the segment before may cover this whole segment.
    if (run.empty()) continue;
    if (segment.weight != 1)
      absl::StrAppend(&result, color ? kBold : "", "[", WeightText(segment.weight), "]",
                      color ? kOff : "");
    result += Mark(run, segment.trained, color);
  }
  if (item.cut_tokens > 0) result += CutMark(item.cut_tokens, color);
  return result + "\n";
}

}  // namespace trainerd
