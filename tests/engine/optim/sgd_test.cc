// SPDX-License-Identifier: Apache-2.0
// Three updates against torch.optim.SGD 2.11.0 (tests/golden/optim/sgd.json) without momentum, with
// momentum and with Nesterov momentum.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>

#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

class SgdTest : public ::testing::TestWithParam<Precision> {};

at::Tensor Values(const std::string& name, int64_t count) {
  std::vector<float> values = golden::Weights(name, count);
  return at::from_blob(values.data(), {count}, at::TensorOptions().dtype(at::kFloat)).clone();
}

void ExpectNear(const at::Tensor& tensor, const nlohmann::json& expected, const std::string& what) {
  const auto values = expected.get<std::vector<double>>();
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(tensor[static_cast<int64_t>(i)].item<double>(), values[i], 2e-7) << what;
}

TEST_P(SgdTest, EqualsTorch) {
  const nlohmann::json golden = golden::File("optim/sgd");
  ASSERT_EQ(golden["cases"].size(), 3u);
  for (const nlohmann::json& c : golden["cases"]) {
    auto set = ParameterSet::Create(golden::Config(golden::Read("llama_tied")), GetParam(),
                                    testing::TestDevice());
    ASSERT_TRUE(set.ok());
    ParameterSet& parameters = **set;
    v1::OptimizerConfig config;
    config.set_type(v1::OptimizerConfig::TYPE_SGD);
    config.set_momentum(c["momentum"]);
    config.set_nesterov(c["nesterov"]);
    config.set_weight_decay(golden["weight_decay"]);
    const std::unique_ptr<Optimizer> optimizer = testing::Build(config, parameters);
    // The golden's tensors take the first elements of a matrix and of a norm.
    const Parameter& q_proj = *parameters.Find("model.layers.0.self_attn.q_proj.weight");
    const Parameter& norm = *parameters.Find("model.layers.1.input_layernorm.weight");
    const std::map<std::string, const Parameter*> tensors = {{"matrix", &q_proj}, {"norm", &norm}};
    const auto first = [&](const at::Tensor& tensor, const std::string& name) {
      return tensor.flatten().narrow(0, 0, name == "matrix" ? 35 : 6);
    };
    for (const auto& [name, parameter] : tensors) {
      at::Tensor values = first(parameter->master, name);
      values.copy_(Values(name, values.numel()));
    }
    for (size_t step = 0; step < c["steps"].size(); ++step) {
      for (const auto& [name, parameter] : tensors) {
        at::Tensor grad = first(parameter->grad, name);
        grad.copy_(Values(name + ".grad" + std::to_string(step), grad.numel()));
      }
      optimizer->Step({golden["learning_rate"].get<double>()}, golden["gradient_factor"],
                      static_cast<int64_t>(step) + 1);
      for (const auto& [name, parameter] : tensors)
        ExpectNear(first(parameter->master, name), c["steps"][step][name],
                   name + " step " + std::to_string(step));
    }
    EXPECT_TRUE(at::equal(parameters.flat_value(),
                          parameters.flat_master().to(parameters.compute_dtype())));
    const std::vector<OptimizerState> state = optimizer->State();
    ASSERT_EQ(state.size(), c["momentum"] == 0.0 ? 0u : 1u);
    if (state.empty()) continue;
    EXPECT_EQ(state[0].name, "momentum_buffer");
    for (const auto& [name, parameter] : tensors) {
      const auto index = static_cast<size_t>(parameter - parameters.parameters().data());
      ExpectNear(state[0].tensors[index].flatten(), c["momentum_buffer"][name], name + " momentum");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, SgdTest, ::testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kFp32 ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
