// SPDX-License-Identifier: Apache-2.0
// What tests with an optimizer share: building one, and its state as a flat list of tensors.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/optim/factory.h"
#include "engine/optim/optimizer.h"
#include "proto/contract/config/knob_rules.h"

namespace trainerd::engine::testing {

// adamw with the defaults of the job file.
inline v1::OptimizerConfig AdamWConfig() {
  v1::OptimizerConfig config;
  config.set_type(v1::OptimizerConfig::TYPE_ADAMW);
  config.add_betas(0.9);
  config.add_betas(0.999);
  config.set_eps(1e-8);
  config.set_weight_decay(0.01);
  return config;
}

// `type` with the defaults of the job file.
inline v1::OptimizerConfig DefaultConfig(v1::OptimizerConfig::Type type) {
  v1::OptimizerConfig config;
  config.set_type(type);
  ApplyDefaults(&config);
  return config;
}

inline std::unique_ptr<Optimizer> Build(const v1::OptimizerConfig& config,
                                        ParameterSet& parameters) {
  absl::StatusOr<std::unique_ptr<Optimizer>> optimizer = MakeOptimizer(config, parameters);
  EXPECT_TRUE(optimizer.ok()) << optimizer.status();
  return *std::move(optimizer);
}

// All state tensors, in the order of Optimizer::State. They are the state itself, not copies.
inline std::vector<at::Tensor> StateTensors(Optimizer& optimizer) {
  std::vector<at::Tensor> tensors;
  for (const OptimizerState& state : optimizer.State()) {
    for (const at::Tensor& tensor : state.tensors) {
      if (tensor.defined()) tensors.push_back(tensor);
    }
  }
  return tensors;
}

// Whether two lists of tensors are equal bit for bit.
inline bool Equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); ++i) equal = a[i].equal(b[i]);
  return equal;
}

inline std::vector<at::Tensor> Copy(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) copies.push_back(tensor.clone());
  return copies;
}

}  // namespace trainerd::engine::testing
