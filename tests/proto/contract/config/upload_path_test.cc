// SPDX-License-Identifier: Apache-2.0
// Expectations: written by hand.
#include "proto/contract/config/upload_path.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

const std::string& Digits() {
  static const auto& digits =
      *new std::string("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
  return digits;
}

TEST(UploadPathTest, ReadsWhatItWrites) {
  EXPECT_EQ(ParseUploadName(UploadName(Digits())), Digits());
  for (const char* name : {"a.jsonl", "A b", ".hidden", "..x", "\xc3\xbc.jinja"}) {
    const std::string path = FormatUploadPath({.sha256_hex = Digits(), .file_name = name});
    const std::optional<UploadPath> read = ParseUploadPath(path);
    ASSERT_TRUE(read.has_value()) << name;
    EXPECT_EQ(read->sha256_hex, Digits());
    EXPECT_EQ(read->file_name, name);
    EXPECT_FALSE(ParseUploadName(path).has_value());
  }
}

TEST(UploadPathTest, RefusesOtherForms) {
  const std::string name = "files/" + Digits();
  std::string upper = name;
  upper.back() = 'F';
  for (const std::string& text :
       {std::string(), std::string("files/"), std::string("files/abc"), name + "0", "/" + name,
        Digits(), upper, name.substr(0, name.size() - 1) + "g"}) {
    EXPECT_FALSE(ParseUploadName(text).has_value()) << text;
    EXPECT_FALSE(ParseUploadPath(text + "/a").has_value()) << text;
  }
  for (const std::string& rest :
       {std::string(), std::string("/"), std::string("/."), std::string("/.."), std::string("/a/b"),
        std::string("/a/"), std::string("//a"), std::string("/a\nb"), std::string("/\xff"),
        "/" + std::string(256, 'a'), std::string("/a\0b", 4)})
    EXPECT_FALSE(ParseUploadPath(name + rest).has_value()) << rest;
}

}  // namespace
}  // namespace trainerd
