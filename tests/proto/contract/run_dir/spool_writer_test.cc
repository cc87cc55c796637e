// SPDX-License-Identifier: Apache-2.0
// The writer against its contract in spool_writer.h, read back with framing.h alone. A full disk is
// made by RLIMIT_FSIZE (EFBIG, same status code).
#include "proto/contract/run_dir/spool_writer.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/run_dir/framing.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

v1::Event Step(int64_t step) {
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_metrics()->set_step(step);
  return event;
}

class SpoolWriterTest : public ::testing::Test {
 protected:
  // All events of all segments; fails on anything but whole frames.
  std::vector<v1::Event> ReadAll() const {
    std::vector<v1::Event> events;
    for (int segment = 1; std::filesystem::exists(SpoolSegmentPath(dir_, segment)); ++segment) {
      const std::string bytes = ReadFile(SpoolSegmentPath(dir_, segment)).value();
      size_t offset = 0;
      while (offset < bytes.size()) {
        const SpoolFrame frame = ReadSpoolFrame(bytes, offset);
        EXPECT_EQ(static_cast<int>(frame.kind), static_cast<int>(SpoolFrame::Kind::kFrame));
        if (frame.kind != SpoolFrame::Kind::kFrame) return events;
        v1::Event event;
        EXPECT_TRUE(event.ParseFromString(std::string(frame.payload)));
        events.push_back(event);
        offset = frame.next_offset;
      }
    }
    return events;
  }
  TempDir temp_;
  const std::string dir_ = temp_.path();
};

TEST_F(SpoolWriterTest, KeepsOrderAcrossSegments) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 200).value();
  for (int64_t step = 1; step <= 50; ++step) ASSERT_TRUE(writer->Append(Step(step), true).ok());
  ASSERT_TRUE(writer->Sync().ok());
  const std::vector<v1::Event> events = ReadAll();
  ASSERT_EQ(events.size(), 50u);
  for (int64_t step = 1; step <= 50; ++step) EXPECT_EQ(events[step - 1].metrics().step(), step);
  EXPECT_TRUE(std::filesystem::exists(SpoolSegmentPath(dir_, 3)));
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    EXPECT_LE(entry.file_size(), 200u) << entry.path();
  }
}

TEST_F(SpoolWriterTest, StartsNewSegmentWhenReopened) {
  ASSERT_TRUE(SpoolWriter::Open(dir_, 0).value()->Append(Step(1), true).ok());
  ASSERT_TRUE(SpoolWriter::Open(dir_, 0).value()->Append(Step(2), true).ok());
  EXPECT_TRUE(std::filesystem::exists(SpoolSegmentPath(dir_, 2)));
  const std::vector<v1::Event> events = ReadAll();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].metrics().step(), 2);
}

TEST_F(SpoolWriterTest, WritesWholeFramesFromSeveralThreads) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 4096).value();
  const auto append = [&](int64_t first) {
    for (int64_t step = first; step < first + 300; ++step) {
      ASSERT_TRUE(writer->Append(Step(step), true).ok());
    }
  };
  std::thread other(append, 1000);
  append(1);
  other.join();
  EXPECT_EQ(ReadAll().size(), 600u);
}

TEST_F(SpoolWriterTest, RefusesEventThatExceedsFrame) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 0).value();
  EXPECT_TRUE(absl::IsInvalidArgument(writer->Append(v1::Event(), true)));
  EXPECT_TRUE(ReadAll().empty());
}

// Files may not grow beyond `bytes` in the child process that runs `body`: the limit must not touch
// the test's own output.
void WithFileSizeLimit(rlim_t bytes,
                       const std::function<void(const std::function<void()>&)>& body) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit limit = before;
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
  body([&] { setrlimit(RLIMIT_FSIZE, &before); });
  setrlimit(RLIMIT_FSIZE, &before);
}

TEST_F(SpoolWriterTest, CountsAndReportsEventsDroppedOnFullDisk) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 0).value();
  std::vector<absl::Status> statuses;
  v1::Event state;
  state.set_job("jobs/a");
  state.mutable_stage()->set_stage("Train");
  WithFileSizeLimit(300, [&](const std::function<void()>& free_space) {
    for (int64_t step = 1; step <= 40; ++step) statuses.push_back(writer->Append(Step(step), true));
    statuses.push_back(writer->Append(state, false));  // kept, not dropped
    statuses.push_back(writer->Append(Step(41), true));
    const bool synced = writer->Sync().ok();
    free_space();
    EXPECT_FALSE(synced);
  });
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  const int64_t dropped = writer->dropped();
  EXPECT_GT(dropped, 0);
  ASSERT_TRUE(writer->Append(Step(42), true).ok());
  ASSERT_TRUE(writer->Sync().ok());
  const std::vector<v1::Event> events = ReadAll();
  ASSERT_GE(events.size(), 3u);
  const size_t n = events.size();
  EXPECT_EQ(events[n - 3].stage().stage(), "Train");
  EXPECT_EQ(events[n - 2].notice().code(), "EVENTS_DROPPED");
  EXPECT_THAT(events[n - 2].notice().message(), HasSubstr(std::to_string(dropped)));
  EXPECT_EQ(events[n - 2].job(), "jobs/a");
  EXPECT_EQ(events[n - 1].metrics().step(), 42);
  // What was written before is a prefix without gaps, and with the dropped ones it makes all.
  EXPECT_EQ(static_cast<int64_t>(n) - 3 + dropped, 41);
  for (size_t i = 0; i + 3 < n; ++i)
    EXPECT_EQ(events[i].metrics().step(), static_cast<int64_t>(i) + 1);
}

TEST_F(SpoolWriterTest, ReportsFullBacklog) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 0).value();
  v1::Event big;
  big.mutable_notice()->set_message(std::string(300 << 10, 'x'));
  absl::Status last;
  WithFileSizeLimit(100, [&](const std::function<void()>& free_space) {
    for (int i = 0; i < 5 && last.ok(); ++i) last = writer->Append(big, false);
    free_space();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(last)) << last;
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(ReadAll().size(), 3u);
}

}  // namespace
}  // namespace trainerd
