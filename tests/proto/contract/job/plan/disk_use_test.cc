// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/disk_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/directory.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kMib = 1 << 20;

// `count` checkpoints of 100 MiB and a final model of 30 MiB.
v1::DataReport::DiskUse Use(const std::string& folder, int64_t count) {
  v1::DataReport::DiskUse disk;
  disk.set_folder(folder);
  disk.set_checkpoint_bytes(100 * kMib);
  disk.set_checkpoint_count(count);
  disk.set_final_bytes(30 * kMib);
  return disk;
}

TEST(DiskUseTest, ACheckpointNeedsAFifthMoreAndAtLeastTheMargin) {
  EXPECT_EQ(SpaceForCheckpoint(100 * kMib), 120 * kMib);
  EXPECT_EQ(SpaceForCheckpoint(100), 100 + kCheckpointMarginBytes);
}

TEST(DiskUseTest, AddsUpWhatEachFileSystemTakes) {
  const TempDir dir;
  v1::DataReport::DiskUse disk = Use(dir / "not/yet/there", 4);
  MeasureFreeSpace("", &disk);
  EXPECT_EQ(disk.needed_bytes(), 430 * kMib);
  EXPECT_GT(disk.free_bytes(), 0);
  EXPECT_FALSE(disk.has_output_free_bytes());
  MeasureFreeSpace(dir / "models/out", &disk);
  EXPECT_EQ(disk.needed_bytes(), 460 * kMib) << "the copy is on the same disk";
  EXPECT_FALSE(disk.has_output_free_bytes());
  // Another file system, which has no free space.
  MeasureFreeSpace("/proc/out", &disk);
  EXPECT_EQ(disk.needed_bytes(), 430 * kMib);
  EXPECT_EQ(disk.output_free_bytes(), 0);
  ASSERT_TRUE(disk.has_output_free_bytes());
}

TEST(DiskUseTest, WarnsOfEachFileSystemThatIsTooSmall) {
  v1::DataReport::DiskUse disk = Use("/state/runs", 4);
  disk.set_needed_bytes(430 * kMib);
  disk.set_free_bytes(430 * kMib);
  disk.set_output_free_bytes(30 * kMib);
  EXPECT_THAT(DiskSpaceWarnings(disk, "/out/m"), IsEmpty());
  disk.set_free_bytes(429 * kMib);
  disk.set_output_free_bytes(29 * kMib);
  const std::vector<std::string> warnings = DiskSpaceWarnings(disk, "/out/m");
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(
      warnings[0],
      "the job needs 430 MiB in /state/runs (checkpoints of 100 MiB, 4 at the same time, and "
      "the final model) and 429 MiB are free; free some space, or lower checkpoint.keep_last");
  EXPECT_EQ(warnings[1],
            "the final model needs 30.0 MiB in output.path /out/m and 29.0 MiB are free; free some "
            "space, or choose another folder");
}

TEST(DiskUseTest, AdvisesToKeepFewerCheckpointsOnlyIfThatHelps) {
  v1::DataReport::DiskUse disk = Use("/state/runs", 2);
  disk.set_needed_bytes(230 * kMib);
  disk.set_free_bytes(0);
  EXPECT_THAT(DiskSpaceWarnings(disk, "")[0], Not(HasSubstr("keep_last")));
  disk.set_checkpoint_count(3);
  EXPECT_THAT(DiskSpaceWarnings(disk, "")[0], HasSubstr("or lower checkpoint.keep_last"));
}

TEST(DiskUseTest, DoesNotWarnOfUnknownSpace) {
  v1::DataReport::DiskUse disk = Use("/state/runs", 4);
  disk.set_needed_bytes(430 * kMib);
  EXPECT_THAT(DiskSpaceWarnings(disk, "/out/m"), IsEmpty());
}

}  // namespace
}  // namespace trainerd
