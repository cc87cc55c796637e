// SPDX-License-Identifier: Apache-2.0
#include "client/preview/preview_text.h"

#include "absl/strings/str_cat.h"
#include "client/view/format.h"
#include "client/view/text_width.h"
#include "proto/base/status_macros.h"

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
  const std::string left_out =
      item.left_out.empty() ? "" : absl::StrCat(" (left out: ", PlainText(item.left_out), ")");
  return Bold(
      absl::StrCat("--- ", ItemTitle(item), left_out, ": ", CountsText(CountTraining(item))),
      color);
}

}  // namespace

absl::StatusOr<std::string> RenderPreview(const std::vector<PreviewItem>& items,
                                          const DecodeTokens& decode, bool color) {
  std::vector<std::vector<Segment>> segments;
  std::vector<std::vector<int64_t>> lists;
  for (const PreviewItem& item : items) {
    segments.push_back(SplitByTraining(item));
    for (const Segment& segment : segments.back()) {
      lists.emplace_back(item.ids.begin() + static_cast<ptrdiff_t>(segment.begin),
                         item.ids.begin() + static_cast<ptrdiff_t>(segment.end));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<DecodedTokens> decoded, DecodeLists(decode, lists));
  std::string result;
  size_t next = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StrAppend(&result, Title(items[i], color), "\n");
    for (const Segment& segment : segments[i])
      absl::StrAppend(&result, Mark(decoded[next++].text, segment.trained, color));
    absl::StrAppend(&result, "\n");
  }
  return result;
}

}  // namespace trainerd::client
