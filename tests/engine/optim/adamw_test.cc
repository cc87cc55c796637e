// SPDX-License-Identifier: Apache-2.0
// Three updates against torch.optim.AdamW 2.11.0 (tests/golden/optim/adamw.json), on a parameter
// set of a real model; decay by group of parameter.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>

#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

class AdamWTest : public ::testing::TestWithParam<Precision> {};

at::Tensor Values(const std::string& name, int64_t count) {
  std::vector<float> values = golden::Weights(name, count);
  return at::from_blob(values.data(), {count}, at::TensorOptions().dtype(at::kFloat)).clone();
}

TEST_P(AdamWTest, EqualsTorch) {
  const nlohmann::json golden = golden::File("optim/adamw");
  auto parameters = ParameterSet::Create(golden::Config(golden::Read("llama_tied")), GetParam(),
                                         testing::TestDevice());
  ASSERT_TRUE(parameters.ok());
  // The golden's tensors take the first elements of a matrix and of a norm; every other gradient is
  // 0.
  const Parameter& q_proj = *(*parameters)->Find("model.layers.0.self_attn.q_proj.weight");
  const Parameter& input_norm = *(*parameters)->Find("model.layers.1.input_layernorm.weight");
  const at::Tensor matrix = q_proj.master.flatten().narrow(0, 0, 35);
  const at::Tensor matrix_grad = q_proj.grad.flatten().narrow(0, 0, 35);
  const at::Tensor norm = input_norm.master.narrow(0, 0, 6);
  const at::Tensor norm_grad = input_norm.grad.narrow(0, 0, 6);
  matrix.copy_(Values("matrix", 35));
  norm.copy_(Values("norm", 6));
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, golden["beta1"]);
  config.set_betas(1, golden["beta2"]);
  config.set_eps(golden["eps"]);
  config.set_weight_decay(golden["weight_decay"]);
  const std::unique_ptr<Optimizer> optimizer = testing::Build(config, **parameters);
  for (int step = 0; step < 3; ++step) {
    matrix_grad.copy_(Values("matrix.grad" + std::to_string(step), 35));
    norm_grad.copy_(Values("norm.grad" + std::to_string(step), 6));
    optimizer->Step({golden["learning_rate"].get<double>()}, golden["gradient_factor"], step + 1);
    for (const auto& [name, tensor] :
         {std::pair<const char*, at::Tensor>{"matrix", matrix}, {"norm", norm}}) {
      const auto expected =
          golden["steps"][static_cast<size_t>(step)][name].get<std::vector<double>>();
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(tensor[static_cast<int64_t>(i)].item<double>(), expected[i], 2e-7)
            << name << " step " << step;
      }
    }
  }
  EXPECT_TRUE(at::equal((*parameters)->flat_value(),
                        (*parameters)->flat_master().to((*parameters)->compute_dtype())));
  const OptimizerState exp_avg_sq = optimizer->State()[1];
  EXPECT_EQ(exp_avg_sq.name, "exp_avg_sq");
  const at::Tensor state =
      exp_avg_sq.tensors[static_cast<size_t>(&q_proj - (*parameters)->parameters().data())]
          .flatten();
  const auto moments = golden["state"]["matrix"]["exp_avg_sq"].get<std::vector<double>>();
  for (size_t i = 0; i < moments.size(); ++i) {
    EXPECT_NEAR(state[static_cast<int64_t>(i)].item<double>(), moments[i],
                1e-6 * moments[i] + 1e-12);
  }
}

TEST_P(AdamWTest, DecaysNormsAndBiasesOnlyOnRequest) {
  for (bool decay_norms : {false, true}) {
    auto parameters = ParameterSet::Create(golden::Config(golden::Read("qwen2")), GetParam(),
                                           testing::TestDevice());
    ASSERT_TRUE(parameters.ok());
    (*parameters)->flat_master().fill_(1.0);
    v1::OptimizerConfig config = testing::AdamWConfig();
    config.set_weight_decay(0.5);
    config.set_decay_norms(decay_norms);
    testing::Build(config, **parameters)->Step({0.1}, 1.0, 1);
    for (const Parameter& parameter : (*parameters)->parameters()) {
      const float expected = parameter.master.dim() == 2 || decay_norms ? 0.95f : 1.0f;
      EXPECT_FLOAT_EQ(parameter.master.min().item<float>(), expected) << parameter.name;
      EXPECT_FLOAT_EQ(parameter.master.max().item<float>(), expected) << parameter.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, AdamWTest,
                         ::testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kFp32 ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
