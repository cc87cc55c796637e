// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/found_checkpoint.h"

#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

TEST(FoundCheckpointTest, CarriesAdapterOfTheManifest) {
  const TempDir dir;
  Manifest manifest{.job = "jobs/4f", .attempt = 1, .step = 5, .kind = "checkpoint"};
  manifest.create_time = "2026-11-24T07:00:00Z";
  for (const bool adapter : {true, false}) {
    manifest.adapter = adapter;
    dir.Write("step-00000005-a1/MANIFEST.json", ManifestToJson(manifest));
    const auto found = ReadCheckpointFolder(dir / "step-00000005-a1");
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(ToCheckpoint(*found).adapter(), adapter);
    EXPECT_EQ(HoldsAdapter(dir / "step-00000005-a1"), adapter);
  }
}

TEST(FoundCheckpointTest, KnowsAnAdapterWithoutManifestByItsFiles) {
  const TempDir dir;
  EXPECT_FALSE(HoldsAdapter(dir / "absent"));
  dir.Write("peft/adapter_config.json", "{}");
  EXPECT_TRUE(HoldsAdapter(dir / "peft"));
  dir.Write("peft/config.json", "{}");
  EXPECT_FALSE(HoldsAdapter(dir / "peft")) << "a whole model beside which an adapter is stored";
}

}  // namespace
}  // namespace trainerd
