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
#include "engine/model/decoder.h"
#include "engine/model/folder/adapter.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine::testing {

// The layers that one of `names` stands for.
inline AdapterSpec Adapter(const ModelConfig& config, const std::vector<std::string>& names,
                           int64_t rank, double alpha) {
  AdapterSpec adapter{.rank = rank, .alpha = alpha};
  for (const AdapterTarget& layer : AdaptableLayers(config)) {
    const bool is_target = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return NamesModule(name, layer.module);
    });
    if (is_target) adapter.targets.push_back(layer);
  }
  return adapter;
}

// A case of a golden file, in one precision, with its documents in one microbatch or one each.
struct AdapterCase {
  std::string name;
  Precision precision;
  bool packed;
};

inline std::vector<AdapterCase> AdapterCases(const nlohmann::json& file) {
  std::vector<AdapterCase> cases;
  for (const auto& [name, unused] : file["cases"].items()) {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      for (const bool packed : {true, false}) cases.push_back({name, precision, packed});
    }
  }
  return cases;
}

inline std::string CaseName(const ::testing::TestParamInfo<AdapterCase>& info) {
  return absl::StrCat(info.param.name, info.param.precision == Precision::kFp32 ? "_fp32" : "_bf16",
                      info.param.packed ? "_packed" : "_not_packed");
}

inline const std::vector<std::string> kLinear = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                 "gate_proj", "up_proj", "down_proj"};

inline const std::vector<std::vector<size_t>> kPacked = {{0, 1, 2}}, kNotPacked = {{0}, {1}, {2}};

// make_lora_goldens.py, adapted().
inline void SetAdapter(ParameterSet& parameters, const nlohmann::json& scales) {
  for (Parameter& parameter : parameters.parameters()) {
    if (!parameter.trains()) continue;
    std::vector<float> values = golden::Weights(parameter.name, parameter.value.numel());
    const bool is_embedding = absl::StrContains(parameter.name, ".lora_embedding_");
    const bool is_a = parameter.role == WeightRole::kAdapterA;
    const double scale =
        scales[absl::StrCat(is_embedding ? "lora_embedding_" : "lora_", is_a ? "A" : "B")];
    parameter.master.copy_(at::from_blob(values.data(), parameter.value.sizes(), at::kFloat));
    parameter.master.mul_(scale);
  }
  parameters.PublishCompute();
}

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
  void SetAdapter(const nlohmann::json& scales) { testing::SetAdapter(*parameters, scales); }
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
