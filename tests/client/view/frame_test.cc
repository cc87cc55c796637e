// SPDX-License-Identifier: Apache-2.0
// The bytes of a frame are put on a small model of a terminal: lines that wrap and, when it is
// resized, wrap anew, as terminals with reflow do. What stands there afterwards is the expectation.
#include "client/view/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;

// Holds logical lines; the cursor is always at the beginning of the line after them.
class Terminal {
 public:
  explicit Terminal(int columns) : columns_(columns) {}
  void Resize(int columns) { columns_ = columns; }

  void Write(const std::string& bytes) {
    size_t i = 0;
    while (i < bytes.size()) {
      if (bytes.compare(i, 2, "\x1b[") == 0) {
        const size_t end = bytes.find_first_of("AJ", i);
        if (bytes[end] == 'A') Up(std::stoi(bytes.substr(i + 2, end - i - 2)));
        i = end + 1;
      } else if (bytes[i] == '\n') {
        lines_.push_back(line_);
        line_.clear();
        ++i;
      } else {
        if (bytes[i] != '\r') line_ += bytes[i];
        ++i;
      }
    }
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  // Moves up so many screen rows and clears from there: every clear follows a move in what a frame
  // writes.
  void Up(int rows) {
    while (rows > 0) {
      ASSERT_FALSE(lines_.empty()) << "moved above the first line";
      rows -= std::max<int>(1, (static_cast<int>(lines_.back().size()) + columns_ - 1) / columns_);
      lines_.pop_back();
    }
    EXPECT_EQ(rows, 0) << "stopped in the middle of a wrapped line";
  }
  int columns_;
  std::vector<std::string> lines_;
  std::string line_;
};

TEST(FrameTest, RedrawsInPlaceBelowOtherText) {
  Terminal terminal(40);
  Frame frame;
  terminal.Write("before\n");
  terminal.Write(frame.Draw({"step 1", "loss 3"}, 40));
  terminal.Write(frame.Draw({"step 2", "loss 2", "alert"}, 40));
  EXPECT_THAT(terminal.lines(), ElementsAre("before", "step 2", "loss 2", "alert"));
  terminal.Write(frame.Draw({"step 3"}, 40));
  EXPECT_THAT(terminal.lines(), ElementsAre("before", "step 3"));
}

TEST(FrameTest, ErasesTheFrameAndKeepsLinesAbove) {
  Terminal terminal(40);
  Frame frame;
  terminal.Write(frame.Draw({"step 1", "loss 3"}, 40));
  terminal.Write(frame.Erase(40) + "an event\r\n");
  terminal.Write(frame.Draw({"step 2", "loss 2"}, 40));
  EXPECT_THAT(terminal.lines(), ElementsAre("an event", "step 2", "loss 2"));
  EXPECT_EQ(Frame().Erase(40), "") << "nothing to erase before the first frame";
}

TEST(FrameTest, SurvivesAResize) {
  Terminal terminal(40);
  Frame frame;
  terminal.Write("before\n");
  terminal.Write(frame.Draw({std::string(39, 'a'), std::string(10, 'b')}, 40));
  terminal.Resize(15);  // the first line takes three rows now
  terminal.Write(frame.Draw({std::string(14, 'c')}, 15));
  EXPECT_THAT(terminal.lines(), ElementsAre("before", std::string(14, 'c')));
  terminal.Resize(80);
  terminal.Write(frame.Draw({std::string(79, 'd')}, 80));
  EXPECT_THAT(terminal.lines(), ElementsAre("before", std::string(79, 'd')));
}

TEST(FrameTest, CountsColumnsOfWideCharacters) {
  Frame frame;
  (void)frame.Draw({"日本日本"}, 20);
  EXPECT_EQ(frame.Erase(4), "\r\x1b[2A\x1b[J") << "eight columns are two rows of four";
}

}  // namespace
}  // namespace trainerd::client
