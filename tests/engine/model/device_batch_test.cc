// SPDX-License-Identifier: Apache-2.0
#include "engine/model/device_batch.h"

#include <gmock/gmock.h>

#include "tests/engine/test_device.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;

std::vector<int64_t> Values(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU).to(at::kLong).contiguous();
  return {host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel()};
}

// Two documents, of 3 tokens and of 1.
Microbatch TwoDocuments() {
  Microbatch batch;
  batch.ids = {5, 6, 7, 8};
  batch.positions = {0, 1, 2, 0};
  batch.labels = {kIgnoreIndex, 6, 7, 8};
  batch.targets = {6, 7, kIgnoreIndex, kIgnoreIndex};
  batch.cu_seqlens = {0, 3, 4};
  batch.examples = {11, 12};
  batch.target_tokens = 2;
  return batch;
}

TEST(DeviceBatchTest, HasWhatTheDecoderNeeds) {
  const DeviceBatch batch = ToDevice(TwoDocuments(), testing::TestDevice());
  EXPECT_THAT(Values(batch.ids), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(Values(batch.positions), ElementsAre(0, 1, 2, 0));
  EXPECT_THAT(Values(batch.target_rows), ElementsAre(0, 1));
  EXPECT_THAT(batch.documents.cu_seqlens_host, ElementsAre(0, 3, 4));
  EXPECT_EQ(batch.documents.max_seqlen, 3);
  EXPECT_FALSE(batch.target_weights.defined());
}

TEST(DeviceBatchTest, SpreadsValuesOfDocumentsOverTheirTokens) {
  const DeviceBatch batch = ToDevice(TwoDocuments(), testing::TestDevice());
  EXPECT_THAT(Values(PerToken(batch, {3, 1})), ElementsAre(3, 3, 3, 1));
}

}  // namespace
}  // namespace trainerd::engine
