// SPDX-License-Identifier: Apache-2.0
// Reading a spool while it grows, after its writer died, and when bytes are damaged; written by
// SpoolWriter and by hand.
#include "server/ingest/spool_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/run_dir/framing.h"
#include "proto/contract/run_dir/spool_writer.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

// With padding the body is a notice of that size; seq is the step in any case.
v1::Event Step(int64_t step, size_t padding = 0) {
  v1::Event event;
  event.set_job("jobs/a");
  event.set_seq(step);
  event.mutable_metrics()->set_step(step);
  if (padding > 0) event.mutable_notice()->set_message(std::string(padding, 'p'));
  return event;
}

std::string Frame(const v1::Event& event) {
  std::string frame;
  AppendSpoolFrame(event.SerializeAsString(), &frame);
  return frame;
}

class SpoolReaderTest : public ::testing::Test {
 protected:
  void Append(int64_t segment, const std::string& bytes) {
    std::ofstream(SpoolSegmentPath(dir_, segment), std::ios::app | std::ios::binary) << bytes;
  }
  SpoolBatch Read(SpoolPosition from, int max_events = 1000, int64_t max_bytes = 1 << 20) {
    absl::StatusOr<SpoolBatch> batch = ReadSpool(dir_, from, max_events, max_bytes);
    EXPECT_TRUE(batch.ok()) << batch.status();
    return batch.ok() ? *batch : SpoolBatch{};
  }
  TempDir temp_;
  const std::string dir_ = temp_.path();
};

TEST_F(SpoolReaderTest, ReturnsAnEmptyBatchWithoutASpool) {
  const SpoolBatch batch = Read({});
  EXPECT_TRUE(batch.events.empty());
  EXPECT_TRUE(batch.at_end);
  EXPECT_EQ(batch.next, (SpoolPosition{}));
}

TEST_F(SpoolReaderTest, ReadsTheSameEventsOnceWithAnyLimit) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 300).value();
  for (int64_t step = 1; step <= 200; ++step) ASSERT_TRUE(writer->Append(Step(step), true).ok());
  for (const auto& [events, bytes] : std::vector<std::pair<int, int64_t>>{
           {1, 1}, {3, 1 << 20}, {1000, 1}, {1000, 100}, {7, 64}}) {
    SpoolPosition position;
    int64_t step = 0;
    while (true) {
      const SpoolBatch batch = Read(position, events, bytes);
      EXPECT_LE(static_cast<int>(batch.events.size()), events);
      for (const v1::Event& event : batch.events) EXPECT_EQ(event.metrics().step(), ++step);
      position = batch.next;
      if (batch.at_end) break;
      ASSERT_FALSE(batch.events.empty());
    }
    EXPECT_EQ(step, 200);
  }
}

TEST_F(SpoolReaderTest, ReadsAPartialFrameOnceItIsComplete) {
  const std::string frame = Frame(Step(2));
  Append(1, Frame(Step(1)) + frame.substr(0, frame.size() - 3));
  const SpoolBatch first = Read({});
  ASSERT_EQ(first.events.size(), 1u);
  EXPECT_TRUE(first.at_end);
  EXPECT_FALSE(first.corruption.has_value());
  Append(1, frame.substr(frame.size() - 3));
  const SpoolBatch second = Read(first.next);
  ASSERT_EQ(second.events.size(), 1u);
  EXPECT_EQ(second.events[0].metrics().step(), 2);
}

TEST_F(SpoolReaderTest, ReportsAndSkipsAPartialFrameBeforeANewSegment) {
  Append(1, Frame(Step(1)) + Frame(Step(2)).substr(0, 9));
  Append(2, Frame(Step(3)));
  const SpoolBatch first = Read({});
  ASSERT_EQ(first.events.size(), 1u);
  ASSERT_TRUE(first.corruption.has_value());
  EXPECT_THAT(*first.corruption, HasSubstr("spool.000001"));
  EXPECT_FALSE(first.at_end);
  const SpoolBatch second = Read(first.next);
  ASSERT_EQ(second.events.size(), 1u);
  EXPECT_EQ(second.events[0].metrics().step(), 3);
  EXPECT_TRUE(second.at_end);
}

TEST_F(SpoolReaderTest, DetectsEveryFlippedBit) {
  const std::string good = Frame(Step(1, 20)) + Frame(Step(2));
  const size_t first_size = Frame(Step(1, 20)).size();
  for (size_t bit = 0; bit < first_size * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_TRUE(WriteFileAtomic(SpoolSegmentPath(dir_, 1), bad).ok());
    const SpoolBatch batch = Read({});
    // A longer length looks like a frame that is not whole yet; anything else is corruption. Never
    // a wrong event.
    EXPECT_TRUE(batch.events.empty()) << "bit " << bit;
    EXPECT_EQ(batch.next, (SpoolPosition{}));
    EXPECT_TRUE(batch.at_end);
  }
}

TEST_F(SpoolReaderTest, TreatsZerosAfterAPowerCutAsCorruption) {
  Append(1, Frame(Step(1)) + std::string(4096, '\0'));
  const SpoolBatch batch = Read({});
  EXPECT_EQ(batch.events.size(), 1u);
  EXPECT_TRUE(batch.corruption.has_value());
  EXPECT_TRUE(batch.at_end);
}

TEST_F(SpoolReaderTest, ReadsLargeEvents) {
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 0).value();
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(writer->Append(Step(i, 9 << 20), true).ok());
  SpoolPosition position;
  for (int i = 1; i <= 3; ++i) {
    const SpoolBatch batch = Read(position, 1000, 1 << 10);
    ASSERT_EQ(batch.events.size(), 1u);
    EXPECT_EQ(batch.events[0].seq(), i);
    position = batch.next;
  }
}

TEST_F(SpoolReaderTest, StopsAtTheSizeAtTheStartOfTheCall) {
  std::atomic<bool> done = false;
  std::thread writing([&] {
    std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 0).value();
    while (!done) ASSERT_TRUE(writer->Append(Step(1), true).ok());
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Read({}, 1 << 30, int64_t{1} << 40).at_end);
  done = true;
  writing.join();
}

TEST_F(SpoolReaderTest, ReportsAMissingSegmentAsDataLoss) {
  Append(1, Frame(Step(1)));
  Append(2, Frame(Step(2)));
  Append(3, Frame(Step(3)));
  ASSERT_TRUE(RemoveSpoolSegments(dir_, 3).ok());
  EXPECT_FALSE(std::filesystem::exists(SpoolSegmentPath(dir_, 2)));
  EXPECT_EQ(Read({.segment = 3, .offset = 0}).events.size(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(ReadSpool(dir_, {.segment = 2}, 10, 1 << 20).status()));
}

TEST_F(SpoolReaderTest, ReadsEachEventOnceWhileTheWriterRuns) {
  constexpr int64_t kSteps = 3000;
  std::thread writing([&] {
    std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir_, 2000).value();
    for (int64_t step = 1; step <= kSteps; ++step) {
      ASSERT_TRUE(writer->Append(Step(step), true).ok());
    }
  });
  SpoolPosition position;
  int64_t step = 0;
  while (step < kSteps) {
    const SpoolBatch batch = Read(position, 100, 1000);
    EXPECT_FALSE(batch.corruption.has_value()) << *batch.corruption;
    for (const v1::Event& event : batch.events) ASSERT_EQ(event.metrics().step(), ++step);
    position = batch.next;
  }
  writing.join();
}

TEST(SpoolWatcherTest, ReportsWritesNewFilesAndWakeUps) {
  const TempDir temp;
  const std::string& dir = temp.path();
  std::unique_ptr<SpoolWatcher> watcher = SpoolWatcher::Create().value();
  EXPECT_FALSE(watcher->Wait(absl::Milliseconds(1)));
  ASSERT_TRUE(watcher->Add(dir).ok());
  ASSERT_TRUE(watcher->Add(dir).ok());
  std::unique_ptr<SpoolWriter> writer = SpoolWriter::Open(dir, 0).value();
  EXPECT_TRUE(watcher->Wait(absl::Seconds(30)));
  EXPECT_FALSE(watcher->Wait(absl::ZeroDuration()));
  ASSERT_TRUE(writer->Append(Step(1), true).ok());
  EXPECT_TRUE(watcher->Wait(absl::Seconds(30)));
  watcher->Wake();
  watcher->Wake();
  EXPECT_TRUE(watcher->Wait(absl::Seconds(30)));
  EXPECT_FALSE(watcher->Wait(absl::ZeroDuration()));
  watcher->Remove(dir);
  ASSERT_TRUE(writer->Append(Step(2), true).ok());
  // The removal itself is queued as an event; after it there is silence.
  watcher->Wait(absl::ZeroDuration());
  ASSERT_TRUE(writer->Append(Step(3), true).ok());
  EXPECT_FALSE(watcher->Wait(absl::ZeroDuration()));
  EXPECT_TRUE(absl::IsNotFound(watcher->Add(dir + "/absent")));
}

}  // namespace
}  // namespace trainerd::server
