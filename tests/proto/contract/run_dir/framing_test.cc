// SPDX-License-Identifier: Apache-2.0
// Expectations: the byte layout in framing.h, damage at every byte and bit, and a peer at the other
// end of a socket pair.
#include "proto/contract/run_dir/framing.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace trainerd {
namespace {

using Kind = SpoolFrame::Kind;

TEST(SpoolFrameTest, HasTheDocumentedBytes) {
  std::string spool;
  AppendSpoolFrame("123456789", &spool);
  EXPECT_EQ(spool, std::string("\x09\x00\x00\x00\x83\x92\x06\xe3", 8) + "123456789");
}

TEST(SpoolFrameTest, ReadsConsecutiveFrames) {
  std::string spool;
  const std::string large(100000, 'x');
  for (const std::string& payload : {std::string("a"), large, std::string("\0\0", 2)})
    AppendSpoolFrame(payload, &spool);
  const SpoolFrame first = ReadSpoolFrame(spool, 0);
  ASSERT_EQ(first.kind, Kind::kFrame);
  EXPECT_EQ(first.payload, "a");
  const SpoolFrame second = ReadSpoolFrame(spool, first.next_offset);
  ASSERT_EQ(second.kind, Kind::kFrame);
  EXPECT_EQ(second.payload, large);
  const SpoolFrame third = ReadSpoolFrame(spool, second.next_offset);
  ASSERT_EQ(third.kind, Kind::kFrame);
  EXPECT_EQ(third.payload, std::string("\0\0", 2));
  EXPECT_EQ(third.next_offset, spool.size());
  EXPECT_EQ(ReadSpoolFrame(spool, spool.size()).kind, Kind::kIncomplete);
  EXPECT_EQ(ReadSpoolFrame(spool, spool.size() + 1).kind, Kind::kIncomplete);
}

TEST(SpoolFrameTest, ReportsEveryTruncationAsIncomplete) {
  std::string spool;
  AppendSpoolFrame("the payload", &spool);
  for (size_t size = 0; size < spool.size(); ++size) {
    EXPECT_EQ(ReadSpoolFrame(std::string_view(spool).substr(0, size), 0).kind, Kind::kIncomplete)
        << size;
  }
}

TEST(SpoolFrameTest, DetectsEveryFlippedBit) {
  std::string intact;
  AppendSpoolFrame("the payload", &intact);
  for (size_t bit = 0; bit < intact.size() * 8; ++bit) {
    std::string damaged = intact;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const Kind kind = ReadSpoolFrame(damaged, 0).kind;
    EXPECT_NE(kind, Kind::kFrame) << bit;
    // Where the length still fits the buffer, the checksum decides at once.
    if (bit >= 32) {
      EXPECT_EQ(kind, Kind::kCorrupt) << bit;
    }
  }
}

TEST(SpoolFrameTest, ReportsInvalidLengthAsCorrupt) {
  const uint32_t too_long = kMaxFrameBytes + 1;
  std::string header;
  for (int shift = 0; shift < 32; shift += 8)
    header.push_back(static_cast<char>(too_long >> shift));
  EXPECT_EQ(ReadSpoolFrame(header, 0).kind, Kind::kCorrupt);
  EXPECT_EQ(ReadSpoolFrame(std::string(4, '\xff'), 0).kind, Kind::kCorrupt);
  // A file extended by zeros, as a power cut can leave it, is no row of empty frames.
  EXPECT_EQ(ReadSpoolFrame(std::string(64, '\0'), 0).kind, Kind::kCorrupt);
}

TEST(SpoolFrameTest, AbortsOnEmptyOrOversizedPayload) {
  std::string spool;
  EXPECT_DEATH(AppendSpoolFrame("", &spool), "check failed");
  EXPECT_DEATH(AppendSpoolFrame(std::string(kMaxFrameBytes + 1, 'x'), &spool), "check failed");
}

class SocketFrameTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0); }
  void TearDown() override {
    CloseEnd(0);
    CloseEnd(1);
  }
  void CloseEnd(int end) {
    if (ends_[end] >= 0) close(ends_[end]);
    ends_[end] = -1;
  }
  int ends_[2] = {-1, -1};
};

TEST_F(SocketFrameTest, CarriesFramesInOrderUntilEndOfFile) {
  ASSERT_TRUE(WriteSocketFrame(ends_[0], "first").ok());
  ASSERT_TRUE(WriteSocketFrame(ends_[0], "").ok());
  CloseEnd(0);
  auto first = ReadSocketFrame(ends_[1], -1);
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ(**first, "first");
  auto second = ReadSocketFrame(ends_[1], -1);
  ASSERT_TRUE(second.ok() && second->has_value());
  EXPECT_EQ(**second, "");
  auto end = ReadSocketFrame(ends_[1], -1);
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
}

TEST_F(SocketFrameTest, WritesMoreThanTheSocketBuffer) {
  const std::string large(kMaxFrameBytes, 'y');
  std::thread writer([&] { EXPECT_TRUE(WriteSocketFrame(ends_[0], large).ok()); });
  auto frame = ReadSocketFrame(ends_[1], -1);
  writer.join();
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_TRUE(**frame == large);
  EXPECT_EQ(WriteSocketFrame(ends_[0], large + "y").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SocketFrameTest, KeepsFrameAfterTimeout) {
  EXPECT_EQ(ReadSocketFrame(ends_[1], 0).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ReadSocketFrame(ends_[1], 1).status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(WriteSocketFrame(ends_[0], "late").ok());
  auto frame = ReadSocketFrame(ends_[1], 0);
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_EQ(**frame, "late");
}

TEST_F(SocketFrameTest, ReportsPeerThatClosesOrStallsInsideFrame) {
  ASSERT_EQ(send(ends_[0],
                 "\x05\x00\x00\x00"
                 "ab",
                 6, 0),
            6);
  EXPECT_EQ(ReadSocketFrame(ends_[1], 1).status().code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(send(ends_[0], "\x05\x00", 2, 0), 2);
  CloseEnd(0);
  EXPECT_EQ(ReadSocketFrame(ends_[1], -1).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SocketFrameTest, ReportsInvalidLengthAsDataLoss) {
  ASSERT_EQ(send(ends_[0], "\xff\xff\xff\xff", 4, 0), 4);
  EXPECT_EQ(ReadSocketFrame(ends_[1], -1).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SocketFrameTest, WritesToClosedPeerWithoutSignal) {
  CloseEnd(1);
  EXPECT_EQ(WriteSocketFrame(ends_[0], "x").code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace trainerd
