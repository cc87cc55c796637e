// SPDX-License-Identifier: Apache-2.0
// Expectations: the first bytes of files that the programs themselves wrote (file(1) agrees).
#include "engine/data/source/files/file_kind.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using std::string_view_literals::operator""sv;

TEST(FileKindTest, NamesTheKindAndWhatToDo) {
  const struct {
    std::string_view start;
    const char* name;
    const char* advice;
  } cases[] = {
      {"PAR1\x15\x04\x15"sv, "is a Parquet file, not JSON; ", "read_parquet"},
      {"\xfd\x37zXZ\x00\x00\x04"sv, "is an xz archive, not JSON; ", "xz -dk"},
      {"PK\x03\x04\x14\x00"sv, "is a zip archive, not JSON; ", "unzip"},
      {"BZh91AY&SY"sv, "is a bzip2 archive", "bzip2 -dk"},
      {"7z\xbc\xaf\x27\x1c\x00\x04"sv, "is a 7z archive", "7z x"},
      {"ARROW1\x00\x00"sv, "is an Arrow (Feather) file", "read_feather"},
      {"\xff\xff\xff\xff\x10\x01"sv, "is an Arrow stream", "from_file"},
      {"SQLite format 3\x00\x10"sv, "is an SQLite database", "sqlite3 -json"},
      {"\x80\x04\x95\x1a"sv, "is a Python pickle", "json.dumps"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1"sv,
       "is a Git LFS pointer, not JSON; ", "git lfs pull"},
      {"\n <!doctype HTML>\n<html>"sv, "is an HTML page, not JSON; ", "download the file again"},
      {"<HTML lang=\"en\">"sv, "is an HTML page", "download the file again"},
      {"<?xml version=\"1.0\"?><Error>"sv, "is an XML or HTML text", "download the file again"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(FileKindAdvice(c.start), AllOf(StartsWith(c.name), HasSubstr(c.advice)));
  }
  EXPECT_THAT(FileKindAdvice(std::string(257, 'a') + "ustar\0 0"), StartsWith("is a tar archive"));
}

TEST(FileKindTest, TakesAnythingElseForJson) {
  for (const char* start :
       {"", "{\"a\": 1}", "[", "\xef\xbb\xbf{", "hello", "P", "\x80", "nonsense <"})
    EXPECT_EQ(FileKindAdvice(start), "") << start;
}

}  // namespace
}  // namespace trainerd::engine
