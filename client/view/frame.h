// SPDX-License-Identifier: Apache-2.0
// Lines that are redrawn in place on a terminal, below text that scrolls. Returns the bytes; the
// caller writes them.
#pragma once

#include <string>
#include <vector>

namespace trainerd::client {

class Frame {
 public:
  // Bytes that replace the last frame by `lines` on a terminal of `columns`. Each line must be
  // narrower than the terminal. If the terminal became narrower, it wrapped the lines of the last
  // frame; all their rows are replaced.
  std::string Draw(const std::vector<std::string>& lines, int columns);
  // Bytes that remove the frame, so that other text can be written in its place.
  std::string Erase(int columns);

 private:
  // Of the lines on the screen.
  std::vector<int> widths_;
};

}  // namespace trainerd::client
