// SPDX-License-Identifier: Apache-2.0
#include "client/preview_text.h"

#include "absl/strings/str_cat.h"
#include "client/format.h"
#include "client/text_width.h"
#include "proto/contract/status_macros.h"

namespace trainerd::client {
namespace {

constexpr char kTrainedOn[] = "\x1b[32m";
constexpr char kTrainedOff[] = "\x1b[0m";

std::string Mark(const std::string& text, bool trained, bool color) {
  const std::string plain = PlainTextLines(text);
  if (!trained) return plain;
  return color ? absl::StrCat(kTrainedOn, plain, kTrainedOff) : absl::StrCat("[[", plain, "]]");
}

std::string Title(const PreviewItem& item, bool color) {
  int64_t trained = 0;
  for (int64_t label : item.labels) trained += label != kNotTrained ? 1 : 0;
  const double share =
      item.ids.empty() ? 0 : static_cast<double>(trained) / static_cast<double>(item.ids.size());
  return Bold(absl::StrCat("--- ", PlainText(item.title), ": ",
                           FormatCount(static_cast<int64_t>(item.ids.size())), " tokens, ",
                           FormatCount(trained), " trained (", FormatPercent(share), ")"),
              color);
}

}  // namespace

std::vector<Segment> SplitByTraining(const PreviewItem& item) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < item.ids.size(); ++i) {
    const bool trained = i < item.labels.size() && item.labels[i] != kNotTrained;
    if (segments.empty() || segments.back().trained != trained)
      segments.push_back({.trained = trained});
    segments.back().ids.push_back(item.ids[i]);
  }
  return segments;
}

absl::StatusOr<std::string> RenderPreview(const std::vector<PreviewItem>& items,
                                          const DecodeTexts& decode, bool color) {
  std::vector<std::vector<Segment>> segments;
  std::vector<std::vector<int64_t>> lists;
  for (const PreviewItem& item : items) {
    segments.push_back(SplitByTraining(item));
    for (const Segment& segment : segments.back()) lists.push_back(segment.ids);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, decode(lists));
  if (texts.size() != lists.size()) {
    return absl::InternalError(absl::StrCat("decoding gave ", texts.size(), " texts for ",
                                            lists.size(), " rows of tokens"));
  }
  std::string result;
  size_t next = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StrAppend(&result, Title(items[i], color), "\n");
    for (const Segment& segment : segments[i])
      absl::StrAppend(&result, Mark(texts[next++], segment.trained, color));
    absl::StrAppend(&result, "\n");
  }
  return result;
}

}  // namespace trainerd::client
