// SPDX-License-Identifier: Apache-2.0
// A tiny model of tests/golden/model with an adapter in a PEFT folder. Element i of tensor NAME of
// the adapter is Weights(NAME)[i], as make_adapter_goldens.py has it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/adapter_loader.h"
#include "engine/model/parameters.h"
#include "engine/model/stored_dtype.h"
#include "tests/engine/model/golden_model.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine::golden {

inline at::Tensor Tensor(const std::string& name, const std::vector<int64_t>& shape) {
  std::vector<float> values = Weights(name, Count(shape));
  return at::from_blob(values.data(), shape, at::TensorOptions().dtype(at::kFloat)).clone();
}

inline void WriteTensors(const std::string& path, const std::vector<WeightSpec>& specs,
                         at::ScalarType dtype) {
  std::vector<SafetensorsWriter::Declared> declared;
  for (const WeightSpec& spec : specs)
    declared.push_back({spec.name, StoredDtypeOf(dtype), spec.shape});
  auto writer = SafetensorsWriter::Create(path, declared);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const WeightSpec& spec : specs) {
    const at::Tensor tensor = Tensor(spec.name, spec.shape).to(dtype);
    ASSERT_TRUE((*writer)->Append(tensor.const_data_ptr(), tensor.nbytes()).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// DIR/adapter with adapter_config.json `config`.
inline void WriteAdapter(const std::string& config, const ModelConfig& model, const TempDir& dir,
                         at::ScalarType dtype) {
  std::filesystem::remove_all(dir / "adapter");
  dir.Write("adapter/adapter_config.json", config);
  const absl::StatusOr<PeftConfig> peft = ParsePeftConfig(config, "adapter_config.json");
  ASSERT_TRUE(peft.ok()) << peft.status();
  AdapterSpec adapter{.rank = peft->rank};
  for (const AdapterTarget& layer : AdaptableLayers(model)) {
    if (Chooses(*peft, layer)) adapter.targets.push_back(layer);
  }
  WriteTensors(dir / "adapter/adapter_model.safetensors", AdapterWeights(adapter), dtype);
}

struct Adapted {
  ModelConfig config;
  std::unique_ptr<ParameterSet> parameters;
};

// The model in DIR, in `dtype` of its own, with the adapter in DIR/adapter.
inline Adapted LoadAdapted(const nlohmann::json& model, const TempDir& dir, Precision precision) {
  Adapted adapted{.config = Config(model)};
  const auto folder = HfFolder::Open(dir.path());
  EXPECT_TRUE(folder.ok()) << folder.status();
  const auto adapter = AdapterFolder::Open(dir / "adapter");
  EXPECT_TRUE(adapter.ok()) << adapter.status();
  const auto spec = (*adapter)->Resolve(adapted.config, 0.0);
  EXPECT_TRUE(spec.ok()) << spec.status();
  adapted.parameters = *ParameterSet::Create(adapted.config, precision, testing::TestDevice(),
                                             /*frozen=*/{}, &*spec);
  EXPECT_TRUE(adapted.parameters->Load(**folder).ok());
  EXPECT_TRUE(LoadAdapter(**adapter, *adapted.parameters).ok());
  return adapted;
}

// The same with a new adapter of `adapter`'s keys in `dtype`.
inline Adapted LoadAdapted(const nlohmann::json& model, const AdapterSpec& adapter,
                           Precision precision, const TempDir& dir, at::ScalarType dtype) {
  WriteFolder(model, dir.path());
  AdapterSpec spec = adapter;
  if (spec.alpha == 0.0) spec.alpha = 8.0;
  WriteAdapter(PeftConfigJson(spec, ""), Config(model), dir, dtype);
  return LoadAdapted(model, dir, precision);
}

}  // namespace trainerd::engine::golden
