// SPDX-License-Identifier: Apache-2.0
// A golden model with an adapter, over the golden documents.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/model/decoder.h"
#include "engine/model/folder/adapter.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine::testing {

// The layers whose names end in one of `names`.
inline AdapterSpec Adapter(const ModelConfig& config, const std::vector<std::string>& names,
                           int64_t rank, double alpha) {
  AdapterSpec adapter{.rank = rank, .alpha = alpha};
  std::vector<WeightSpec> specs = WeightsOf(config);
  if (config.tie_word_embeddings)
    specs.push_back({WeightRole::kHead, -1, kHeadName, {config.vocab_size, config.hidden_size}});
  for (const WeightSpec& spec : specs) {
    const std::string module(absl::StripSuffix(spec.name, ".weight"));
    const bool is_target =
        spec.shape.size() == 2 &&
        std::any_of(names.begin(), names.end(), [&](const std::string& name) {
          return module == name || absl::EndsWith(module, absl::StrCat(".", name));
        });
    if (!is_target) continue;
    const bool is_embedding = spec.role == WeightRole::kEmbedding;
    adapter.targets.push_back({spec.role, spec.layer, module, spec.shape[is_embedding ? 0 : 1],
                               spec.shape[is_embedding ? 1 : 0]});
  }
  return adapter;
}

inline const std::vector<std::string> kLinear = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                 "gate_proj", "up_proj", "down_proj"};

inline const std::vector<std::vector<size_t>> kPacked = {{0, 1, 2}}, kNotPacked = {{0}, {1}, {2}};

struct AdaptedModel {
  // `model` has config, documents and targets.
  AdaptedModel(const nlohmann::json& model, const AdapterSpec& adapter, Precision precision,
               Quantization quantization = Quantization::kNone)
      : golden(model) {
    golden::WriteFolder(golden, folder.path());
    const ModelConfig config = golden::Config(golden);
    parameters = *ParameterSet::Create(config, precision, TestDevice(), /*frozen=*/{}, &adapter,
                                       quantization);
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder.path()));
    EXPECT_TRUE(loaded.ok()) << loaded;
    decoder = std::make_unique<Decoder>(config, *parameters);
  }
  // make_lora_goldens.py, adapted().
  void SetAdapter(const nlohmann::json& scales) {
    for (Parameter& parameter : parameters->parameters()) {
      if (!parameter.trains()) continue;
      std::vector<float> values = golden::Weights(parameter.name, parameter.value.numel());
      const bool is_embedding = absl::StrContains(parameter.name, ".lora_embedding_");
      const bool is_a = parameter.role == WeightRole::kAdapterA;
      const double scale =
          scales[absl::StrCat(is_embedding ? "lora_embedding_" : "lora_", is_a ? "A" : "B")];
      parameter.master.copy_(at::from_blob(values.data(), parameter.value.sizes(), at::kFloat));
      parameter.master.mul_(scale);
    }
    parameters->PublishCompute();
  }
  DeviceBatch Batch(const std::vector<size_t>& which) const {
    return ToDevice(golden::Pack(golden, which), TestDevice());
  }
  double targets() const { return golden["targets"].get<double>(); }
  // Mean loss; its gradients are in the parameters. One microbatch per entry.
  double Backward(const std::vector<std::vector<size_t>>& microbatches) {
    parameters->ZeroGrad();
    double sum = 0.0;
    for (const std::vector<size_t>& which : microbatches)
      sum += decoder->ForwardBackward(Batch(which), 1.0 / targets()).item<double>();
    return sum / targets();
  }

  TempDir folder;
  nlohmann::json golden;
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
};

}  // namespace trainerd::engine::testing
