// SPDX-License-Identifier: Apache-2.0
#include "client/view/frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/view/text_width.h"

namespace trainerd::client {

std::string Frame::Erase(int columns) {
  if (widths_.empty()) return "";
  columns = std::max(1, columns);
  int rows = 0;
  for (int width : widths_) rows += std::max(1, (width + columns - 1) / columns);
  widths_.clear();
  // The cursor is at the beginning of the line below the frame.
  return absl::StrCat("\r\x1b[", rows, "A\x1b[J");
}

std::string Frame::Draw(const std::vector<std::string>& lines, int columns) {
  std::string bytes = Erase(columns);
  for (const std::string& line : lines) {
    absl::StrAppend(&bytes, line, "\r\n");
    widths_.push_back(DisplayWidth(line));
  }
  return bytes;
}

}  // namespace trainerd::client
