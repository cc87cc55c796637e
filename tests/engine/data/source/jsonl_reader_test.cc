// SPDX-License-Identifier: Apache-2.0
// Expectations: lines counted by hand, as an editor numbers them.
#include "engine/data/source/jsonl_reader.h"

#include "engine/data/source/conversation.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

struct Line {
  int64_t number;
  std::string text;
  bool too_long = false;
  bool operator==(const Line&) const = default;
};

std::vector<Line> ReadAll(const std::string& path, JsonlReader::Options options = {}) {
  auto reader = JsonlReader::Open(path, options);
  EXPECT_TRUE(reader.ok()) << reader.status();
  std::vector<Line> all;
  std::vector<JsonlLine> lines;
  do {
    EXPECT_TRUE((*reader)->ReadBlock(&lines).ok());
    for (const JsonlLine& line : lines)
      all.push_back({line.number, std::string(line.text), line.too_long});
  } while (!lines.empty());
  EXPECT_EQ((*reader)->bytes_done(), (*reader)->size_bytes());
  return all;
}

TEST(JsonlReaderTest, NumbersLinesAndLeavesBlankOnesOut) {
  const TempDir folder;
  const std::string file = folder.Write("a.jsonl", "{1}\n\n  \t\n{4}\r\n\r\n{6}");
  EXPECT_EQ(ReadAll(file), (std::vector<Line>{{1, "{1}"}, {4, "{4}"}, {6, "{6}"}}));
}

TEST(JsonlReaderTest, TakesTheByteOrderMarkOff) {
  const TempDir folder;
  EXPECT_EQ(ReadAll(folder.Write("a.jsonl", "\xef\xbb\xbf{}\n")), (std::vector<Line>{{1, "{}"}}));
}

TEST(JsonlReaderTest, SaysWhenTheLastLineHasNoNewline) {
  const TempDir folder;
  auto reader = JsonlReader::Open(folder.Write("a.jsonl", "{}\n{\"a\""));
  std::vector<JsonlLine> lines;
  ASSERT_TRUE((*reader)->ReadBlock(&lines).ok());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_FALSE(lines[0].unterminated);
  EXPECT_TRUE(lines[1].unterminated);
}

TEST(JsonlReaderTest, LinesDoNotDependOnTheBlockSize) {
  const TempDir folder;
  std::string contents;
  for (int i = 0; i < 500; ++i)
    contents += std::string(static_cast<size_t>(i * 7 % 300), 'x') + "y\n";
  const std::string file = folder.Write("a.jsonl", contents);
  const std::vector<Line> expected = ReadAll(file);
  ASSERT_EQ(expected.size(), 500u);
  for (const size_t block : {64, 65, 127, 300, 301, 4096}) {
    EXPECT_EQ(ReadAll(file, {.block_bytes = block}), expected) << block;
  }
}

TEST(JsonlReaderTest, LeavesPaddingAfterTheLastLine) {
  const TempDir folder;
  auto reader = JsonlReader::Open(folder.Write("a.jsonl", "{}\n{\"messages\":[]}"));
  std::vector<JsonlLine> lines;
  ASSERT_TRUE((*reader)->ReadBlock(&lines).ok());
  volatile char sum = 0;  // read under AddressSanitizer
  for (size_t i = 0; i < kJsonPadding; ++i)
    sum = sum + lines[1].text.data()[lines[1].text.size() + i];
}

TEST(JsonlReaderTest, SkipsALineOverTheLimitAndGoesOn) {
  const TempDir folder;
  const std::string file =
      folder.Write("a.jsonl", "{1}\n" + std::string(5000, 'x') + "\n{3}\n" + std::string(900, 'y'));
  const std::vector<Line> expected = {{1, "{1}"}, {2, "", true}, {3, "{3}"}, {4, "", true}};
  EXPECT_EQ(ReadAll(file, {.block_bytes = 64, .max_line_bytes = 500}), expected);
  EXPECT_EQ(ReadAll(file, {.block_bytes = 1 << 20, .max_line_bytes = 500}), expected);
}

TEST(JsonlReaderTest, RefusesWhatIsNotAJsonlFileWithAdvice) {
  const TempDir folder;
  const auto message = [](const std::string& path) {
    const auto reader = JsonlReader::Open(path);
    EXPECT_FALSE(reader.ok());
    return std::string(reader.status().message());
  };
  EXPECT_NE(message(folder.path() + "/none.jsonl").find("none.jsonl: no such file"),
            std::string::npos);
  EXPECT_EQ(JsonlReader::Open(folder.path() + "/none.jsonl").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_NE(message(folder.path()).find("is a folder; name a JSONL file"), std::string::npos);
  EXPECT_NE(message(folder.Write("empty.jsonl", "")).find("is empty"), std::string::npos);
  EXPECT_NE(message(folder.Write("u.jsonl", std::string_view("\xff\xfe{\0", 4))).find("UTF-16"),
            std::string::npos);
}

TEST(JsonlReaderTest, ReadsTheElementsOfOneArray) {
  const TempDir folder;
  const std::string file =
      folder.Write("a.json", "\xef\xbb\xbf\n [\n {\"a\":\n1},\r\n {\"b\": \"]\"}\n]\n \n");
  for (const size_t block : {64, 1000}) {
    EXPECT_EQ(ReadAll(file, {.block_bytes = block}),
              (std::vector<Line>{{3, "{\"a\":\n1}"}, {5, "{\"b\": \"]\"}"}}));
  }
}

TEST(JsonlReaderTest, ElementsDoNotDependOnTheBlockSize) {
  const TempDir folder;
  std::string contents = "[";
  for (int i = 0; i < 500; ++i) {
    contents += std::string(i == 0 ? "" : ",") + "\n{\"a\":\"" +
                std::string(static_cast<size_t>(i * 7 % 300), i % 3 == 0 ? '{' : 'x') + "\"}";
  }
  const std::string file = folder.Write("a.json", contents + "\n]");
  const std::vector<Line> expected = ReadAll(file);
  ASSERT_EQ(expected.size(), 500u);
  EXPECT_EQ(expected[499].number, 501);
  for (const size_t block : {64, 65, 127, 300, 301, 4096}) {
    EXPECT_EQ(ReadAll(file, {.block_bytes = block}), expected) << block;
  }
}

TEST(JsonlReaderTest, SkipsAnElementOverTheLimitAndContinues) {
  const TempDir folder;
  const std::string file = folder.Write(
      "a.json", "[1,\n\"" + std::string(5000, 'x') + "\",\n3,\n" + std::string(900, '4') + ", 5]");
  const std::vector<Line> expected = {{1, "1"}, {2, "", true}, {3, "3"}, {4, "", true}, {4, "5"}};
  EXPECT_EQ(ReadAll(file, {.block_bytes = 64, .max_line_bytes = 500}), expected);
  EXPECT_EQ(ReadAll(file, {.block_bytes = 1 << 20, .max_line_bytes = 500}), expected);
}

TEST(JsonlReaderTest, RefusesAnArrayWithoutEndWithATailOrElements) {
  const TempDir folder;
  const auto error = [&](const std::string& contents) {
    auto reader = JsonlReader::Open(folder.Write("a.json", contents));
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<JsonlLine> lines;
    absl::Status status;
    do {
      status = (*reader)->ReadBlock(&lines);
    } while (status.ok() && !lines.empty());
    return std::string(status.message()).substr(folder.path().size() + 1);
  };
  EXPECT_EQ(error("[\n1,\n2\n"),
            "a.json:4: the file ends inside its JSON array: it was cut off, copy it again");
  EXPECT_EQ(error("[1]\n[2]"),
            "a.json:2: something follows the end of the JSON array; a file has one array, or one "
            "record per line");
  EXPECT_EQ(error("[\n]\n"), "a.json: the JSON array is empty");
}

TEST(JsonlReaderTest, RefusesAnObjectSpreadOverLines) {
  const TempDir folder;
  const auto message = [&](const char* contents) {
    return std::string(JsonlReader::Open(folder.Write("a.json", contents)).status().message());
  };
  EXPECT_NE(
      message("{\n  \"a\": 1\n}\n")
          .find("a.json:1: a record is spread over several lines; write one per line, for example: "
                "jq -c ."),
      std::string::npos);
  EXPECT_EQ(message("{ }\n{}\n"), "");
}

TEST(JsonlReaderTest, LocatesAnErrorInsideAnElement) {
  const JsonlLine line{.number = 7, .column = 5, .text = "{\n \"a\": x}"};
  RecordError error{.column = 8};
  LocateInFile(line, &error);
  EXPECT_EQ(error.lines_down, 1);
  EXPECT_EQ(error.column, 6);
  error = {.column = 1};
  LocateInFile(line, &error);
  EXPECT_EQ(error.lines_down, 0);
  EXPECT_EQ(error.column, 5);
  error = {};
  LocateInFile(line, &error);
  EXPECT_EQ(error.column, 0);
}

TEST(JsonlReaderTest, NamesAFileOfAnotherKind) {
  const TempDir folder;
  const auto reader = JsonlReader::Open(folder.Write("a.jsonl", "PAR1xyz"));
  EXPECT_EQ(std::string(reader.status().message()).substr(folder.path().size() + 1, 27),
            "a.jsonl: is a Parquet file,");
}

}  // namespace
}  // namespace trainerd::engine
