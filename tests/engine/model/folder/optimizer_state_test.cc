// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/optimizer_state.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

// What StatesOf lists for parameters of every kind, small and large.
std::set<std::string> AllStates(const v1::OptimizerConfig& optimizer) {
  std::set<std::string> names;
  for (const ParameterGroup group :
       {ParameterGroup::kMatrix, ParameterGroup::kEmbedding, ParameterGroup::kHead,
        ParameterGroup::kNorm, ParameterGroup::kBias}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{8}, {64, 128}}) {
      for (const StoredState& state : StatesOf(optimizer, group, shape)) names.insert(state.name);
    }
  }
  return names;
}

// The daemon compares two jobs by OptimizerStates, the engine writes and reads StatesOf.
TEST(StatesOfTest, NamesTheStatesOfTheContract) {
  int types = 0;
  for (int i = v1::OptimizerConfig::Type_MIN; i <= v1::OptimizerConfig::Type_MAX; ++i) {
    if (!v1::OptimizerConfig::Type_IsValid(i)) continue;
    for (const double momentum : {0.0, 0.9}) {
      v1::OptimizerConfig optimizer;
      optimizer.set_type(static_cast<v1::OptimizerConfig::Type>(i));
      optimizer.set_momentum(momentum);
      const std::vector<std::string> listed = OptimizerStates(optimizer);
      EXPECT_EQ(AllStates(optimizer), std::set<std::string>(listed.begin(), listed.end()))
          << v1::OptimizerConfig::Type_Name(i) << ", momentum " << momentum;
      types += !listed.empty();
    }
  }
  EXPECT_GE(types, 7);
}

}  // namespace
}  // namespace trainerd::engine
