// SPDX-License-Identifier: Apache-2.0
// Files as the shim writes them (names carry the offset); expectations by hand.
#include "server/runs/log_reader.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

class LogReaderTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(dir_ + "/logs"); }
  std::string Path(int64_t start) const {
    char name[48];
    std::snprintf(name, sizeof(name), "/logs/worker.%020lld.log", static_cast<long long>(start));
    return dir_ + name;
  }
  void Write(int64_t start, const std::string& text) {
    std::ofstream(Path(start), std::ios::app | std::ios::binary) << text;
  }
  TempDir temp_;
  const std::string dir_ = temp_.path();
};

TEST_F(LogReaderTest, ReturnsNothingWithoutALog) {
  const LogSlice slice = ReadLog(dir_, 0, 100).value();
  EXPECT_TRUE(slice.data.empty());
  EXPECT_TRUE(slice.at_end);
  EXPECT_EQ(LogTailOffset(dir_, 10).value(), 0);
  EXPECT_TRUE(ReadLog(dir_ + "/absent", 0, 100).value().data.empty());
}

TEST_F(LogReaderTest, ReadsAcrossFilesByAbsoluteOffset) {
  Write(0, "0123456789");
  Write(10, "abcdef");
  const LogSlice all = ReadLog(dir_, 0, 100).value();
  EXPECT_EQ(all.data, "0123456789abcdef");
  EXPECT_EQ(all.next_offset, 16);
  EXPECT_TRUE(all.at_end);
  const LogSlice middle = ReadLog(dir_, 8, 4).value();
  EXPECT_EQ(middle.data, "89ab");
  EXPECT_EQ(middle.offset, 8);
  EXPECT_FALSE(middle.at_end);
  const LogSlice end = ReadLog(dir_, 16, 100).value();
  EXPECT_TRUE(end.data.empty());
  EXPECT_EQ(end.next_offset, 16);
  EXPECT_TRUE(end.at_end);
  Write(10, "gh");
  EXPECT_EQ(ReadLog(dir_, 16, 100).value().data, "gh");
}

TEST_F(LogReaderTest, KeepsOffsetsAcrossRotationAndCountsDroppedBytes) {
  Write(0, "0123456789");
  Write(10, "abcdefghij");
  Write(20, "KLM");
  std::filesystem::remove(Path(0));
  const LogSlice slice = ReadLog(dir_, 4, 100).value();
  EXPECT_EQ(slice.offset, 10);
  EXPECT_EQ(slice.dropped_bytes, 6);
  EXPECT_EQ(slice.data, "abcdefghijKLM");
  EXPECT_EQ(slice.next_offset, 23);
  EXPECT_EQ(ReadLog(dir_, 15, 3).value().data, "fgh");
}

TEST_F(LogReaderTest, ReportsAnOffsetBeyondTheEnd) {
  Write(0, "0123");
  EXPECT_TRUE(absl::IsOutOfRange(ReadLog(dir_, 5, 10).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadLog(dir_, -1, 10).status()));
}

TEST_F(LogReaderTest, CountsTailLinesAcrossFiles) {
  Write(0, "one\ntwo\nth");
  Write(10, "ree\nfour\n");
  EXPECT_EQ(LogTailOffset(dir_, 1).value(), 14);
  EXPECT_EQ(LogTailOffset(dir_, 2).value(), 8);
  EXPECT_EQ(LogTailOffset(dir_, 100).value(), 0);
  Write(10, "five");
  EXPECT_EQ(LogTailOffset(dir_, 1).value(), 19);
  EXPECT_EQ(LogTailOffset(dir_, 2).value(), 14);
  EXPECT_EQ(LogTailOffset(dir_, 0).value(), 23);
}

}  // namespace
}  // namespace trainerd::server
