// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/placeholder_file.h"

#include <gmock/gmock.h>

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

TEST(PlaceholderTextTest, NamesLfsPointersAndHtmlPages) {
  EXPECT_THAT(PlaceholderText("/m/a.bin", "version https://git-lfs.github.com/spec/v1\noid sha2"),
              HasSubstr("Git LFS pointer, not the content; run git lfs pull in /m,"));
  EXPECT_THAT(PlaceholderText("a.bin", "version https://git-lfs.github.com/spec/v2\n"),
              HasSubstr("git lfs pull in .,"));
  EXPECT_THAT(PlaceholderText("a", "\r\n <!doctype HTML>"), HasSubstr("HTML page"));
  EXPECT_THAT(PlaceholderText("a", "<html lang=en>"), HasSubstr("HTML page"));
}

TEST(PlaceholderTextTest, AcceptsContent) {
  EXPECT_EQ(PlaceholderText("a", ""), "");
  EXPECT_EQ(PlaceholderText("a", "{\"version\": \"https://git-lfs.github.com/spec/v1\"}"), "");
  EXPECT_EQ(PlaceholderText("a", std::string_view("\x10\0\0\0\0\0\0\0{", 9)), "");
}

}  // namespace
}  // namespace trainerd::engine
