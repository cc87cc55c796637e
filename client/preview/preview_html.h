// SPDX-License-Identifier: Apache-2.0
// A self-contained HTML page that shows conversations as they are trained: inline style, no script,
// and a content security policy that blocks every load. All data is escaped (html_text.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/contract/job/preview_text.h"

namespace trainerd::client {

struct PreviewPage {
  std::string job_file;
  // Which part of the data is shown: "the first 3 examples in file order".
  std::string extent;
  // Keys and values, in this order.
  std::vector<std::pair<std::string, std::string>> settings;
  // Tokens per packed sequence; 0 = no limit to show.
  int64_t max_length = 0;
  // The items of one packed sequence are adjacent.
  std::vector<PreviewItem> items;
};

// Counts of a page. Skipped items count only in `left_out`.
struct PreviewSummary {
  TrainingCounts counts;
  // Items; the two of a pair count once.
  int64_t trained_on = 0;
  int64_t left_out = 0;
};
PreviewSummary SumUp(const std::vector<PreviewItem>& items);

// The page as UTF-8. For each item, an element of class "text" contains the text of its tokens:
// trained runs in <mark>, each token in a <span> whose title names its id, with class "s" for
// special tokens. A character that several tokens spell belongs to the first of them.
std::string RenderPreviewPage(const PreviewPage& page);

}  // namespace trainerd::client
