// SPDX-License-Identifier: Apache-2.0
// A model that was exported as F32 and imported computes the same logits, bit for bit.
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include "engine/model/decoder.h"
#include "engine/model/gguf/export_model.h"
#include "engine/model/gguf/import_model.h"
#include "tests/engine/model/gguf/gguf_folder.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

at::Tensor LogitsOf(const std::string& folder) {
  const auto config = ReadModelConfig(folder);
  EXPECT_TRUE(config.ok()) << config.status();
  const auto weights = HfFolder::Open(folder, config->names);
  EXPECT_TRUE(weights.ok()) << weights.status();
  auto parameters = ParameterSet::Create(*config, Precision::kFp32, testing::TestDevice());
  EXPECT_TRUE(parameters.ok() && (*parameters)->Load(**weights).ok());
  Decoder decoder(*config, **parameters);
  // Of as many tokens as the shortest window has.
  Microbatch batch = golden::Pack(golden::Read("llama_tied"), {1});
  return decoder.Logits(ToDevice(batch, testing::TestDevice()));
}

class GgufRoundTripTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GgufRoundTripTest, KeepsLogits) {
  const TempDir dir;
  nlohmann::json golden = GgufModels()[GetParam()];
  golden["config"]["vocab_size"] = 720;
  const std::string source = WriteGoldenFolder(dir, "source", golden, "qwen3"),
                    file = dir / "model.gguf", imported = dir / "imported";
  ASSERT_TRUE(WriteGguf(source, file, {.type = GgufType::kF32}).ok());
  ASSERT_TRUE(ImportGguf(file, imported).ok());
  EXPECT_TRUE(at::equal(LogitsOf(source), LogitsOf(imported)));
}

// All that can be imported. The factors of llama3_rope_bias are none of a published model.
INSTANTIATE_TEST_SUITE_P(Families, GgufRoundTripTest,
                         ::testing::Values("llama_tied", "mistral_sliding", "qwen2", "qwen3",
                                           "qwen3_moe", "gemma", "gemma2", "gemma3", "phi3",
                                           "phi4_mini", "granite", "olmo2", "smollm3"));

}  // namespace
}  // namespace trainerd::engine
