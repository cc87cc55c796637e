// SPDX-License-Identifier: Apache-2.0
// Expectations: the stored values, widened to fp32 by LibTorch.
#include "engine/model/adapter_loader.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/engine/model/adapted_model.h"

namespace trainerd::engine {
namespace {

class AdapterLoaderTest : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(AdapterLoaderTest, WidensStoredValues) {
  const nlohmann::json model = golden::Read("llama3_rope_bias");
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const TempDir dir;
    const golden::Adapted adapted = golden::LoadAdapted(
        model, {.rank = 4, .target_modules = {"q_proj", "v_proj", "embed_tokens", "lm_head"}},
        precision, dir, GetParam());
    int64_t count = 0;
    for (const WeightSpec& spec : AdapterWeights(*adapted.parameters->adapter())) {
      const Parameter& parameter = *adapted.parameters->Find(spec.name);
      const at::Tensor expected =
          golden::Tensor(spec.name, spec.shape).to(GetParam()).to(at::kFloat);
      EXPECT_TRUE(at::equal(parameter.master.cpu(), expected)) << spec.name;
      EXPECT_TRUE(
          at::equal(parameter.value.cpu(), expected.to(adapted.parameters->compute_dtype())))
          << spec.name;
      EXPECT_EQ(parameter.source_dtype, at::kFloat) << "it is written in fp32";
      count += parameter.value.numel();
    }
    EXPECT_EQ(adapted.parameters->num_training(), count) << "only the adapter trains";
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, AdapterLoaderTest,
                         ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

}  // namespace
}  // namespace trainerd::engine
