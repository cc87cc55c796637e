// SPDX-License-Identifier: Apache-2.0
// A page that shows conversations as they are trained. It stands alone: style inside, no script,
// and a content security policy that lets nothing be loaded. Everything that comes from data is
// text in it (html_text.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/preview/preview_items.h"
#include "client/preview/token_texts.h"

namespace trainerd::client {

struct PreviewPage {
  std::string job_file;
  std::string extent;  // which part of the data is shown: "the first 3 examples in file order"
  std::vector<std::pair<std::string, std::string>> settings;  // key and value, in this order
  int64_t max_length = 0;          // tokens that a packed row has room for
  std::vector<PreviewItem> items;  // those of one packed row follow each other
};

// What a page sums up: items that are left out of training count only as such.
struct PreviewSummary {
  TrainingCounts counts;
  int64_t trained_on = 0;  // items
  int64_t left_out = 0;
};
PreviewSummary SumUp(const std::vector<PreviewItem>& items);

// The page as UTF-8. In it, for each item, an element of class "text" holds exactly the text of its
// tokens (characters that cannot be seen as in HtmlOfTokens): trained runs in <mark>, each token in
// a <span> whose title names its id; class "s" where the tokenizer flags it special. A character
// that several tokens make up stands where the first of them does.
absl::StatusOr<std::string> RenderPreviewPage(const PreviewPage& page, const DecodeTokens& decode);

}  // namespace trainerd::client
