// SPDX-License-Identifier: Apache-2.0
// Expectations: elements, lines and columns counted by hand, as an editor shows them.
#include "engine/data/source/files/json_array_scanner.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;

// "LINE:COLUMN TEXT" of each element, then what is wrong after them. The text arrives in pieces of
// `piece` bytes; what the scanner no longer needs is removed at once.
std::vector<std::string> Scan(const std::string& file, size_t piece) {
  std::vector<std::string> found;
  JsonArrayScanner scanner;
  std::string text;
  const auto add = [&](const JsonArrayScanner::Element& element) {
    found.push_back(std::to_string(element.line) + ":" + std::to_string(element.column) + " " +
                    text.substr(element.begin, element.end - element.begin));
  };
  for (size_t at = 0; at < file.size(); at += piece) {
    text += file.substr(at, piece);
    while (const auto element = scanner.Next(text)) add(*element);
    const size_t done = scanner.consumable();
    text.erase(0, done);
    scanner.Consume(done);
  }
  if (const auto element = scanner.Finish(text)) {
    add(*element);
    found.push_back("cut");
  }
  if (!scanner.ended()) found.push_back("no end");
  if (scanner.has_tail()) found.push_back("tail");
  return found;
}

void ExpectScan(const std::string& file, const ::testing::Matcher<std::vector<std::string>>& is) {
  for (const size_t piece : {1, 2, 3, 7, 1000}) EXPECT_THAT(Scan(file, piece), is) << piece;
}

TEST(JsonArrayScannerTest, FindsElementsOverLines) {
  ExpectScan("[\n  {\"a\": [1, {\"b\": 2}]},\r\n  {\n \"c\": 3\n  } , 4 ]\n",
             ElementsAre("2:3 {\"a\": [1, {\"b\": 2}]}", "3:3 {\n \"c\": 3\n  }", "5:7 4"));
}

TEST(JsonArrayScannerTest, LooksIntoNoString) {
  ExpectScan(R"([{"a": "],}\"[", "b\\": "\\"}, "x,]"])",
             ElementsAre(R"(1:2 {"a": "],}\"[", "b\\": "\\"})", R"(1:32 "x,]")"));
}

TEST(JsonArrayScannerTest, ReportsMissingElementsAsEmpty) {
  ExpectScan("[1,,2]", ElementsAre("1:2 1", "1:4 ", "1:5 2"));
  ExpectScan("[1, ]", ElementsAre("1:2 1", "1:5 "));
  ExpectScan("[ ]", ElementsAre());
}

TEST(JsonArrayScannerTest, SeesAFileThatWasCutOff) {
  ExpectScan("[1, {\"a\": ", ElementsAre("1:2 1", "1:5 {\"a\":", "cut", "no end"));
  ExpectScan("[1,", ElementsAre("1:2 1", "no end"));
  ExpectScan("[\"a\\", ElementsAre("1:2 \"a\\", "cut", "no end"));
}

TEST(JsonArrayScannerTest, SeesWhatFollowsTheArray) {
  ExpectScan("[1]\n[2]", ElementsAre("1:2 1", "tail"));
  ExpectScan("[1]}", ElementsAre("1:2 1", "tail"));
}

}  // namespace
}  // namespace trainerd::engine
