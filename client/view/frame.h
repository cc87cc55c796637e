// SPDX-License-Identifier: Apache-2.0
// Lines that are redrawn in place on a terminal, below text that scrolls. Only makes the bytes; it
// writes nothing.
#pragma once

#include <string>
#include <vector>

namespace trainerd::client {

class Frame {
 public:
  // Bytes that replace the last frame by `lines` on a terminal of `columns`. Each line must be
  // narrower than the terminal. A terminal that became narrower has wrapped the last frame's lines:
  // the rows that they take now are counted.
  std::string Draw(const std::vector<std::string>& lines, int columns);
  // Bytes that remove the frame, so that other text can be written where it began.
  std::string Erase(int columns);

 private:
  std::vector<int> widths_;  // of the lines on the screen
};

}  // namespace trainerd::client
