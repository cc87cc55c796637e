// SPDX-License-Identifier: Apache-2.0
// The tiny models of tests/golden/model as parameters, and their documents as a packed sequence.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/data/batches/batch.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/parameters.h"
#include "tests/engine/model/golden_folder.h"
#include "tests/engine/test_device.h"
#include "tests/temp_dir.h"

namespace trainerd::engine::golden {

inline std::unique_ptr<ParameterSet> Load(const nlohmann::json& golden, Precision precision,
                                          const std::string& folder) {
  WriteFolder(golden, folder);
  auto hf = HfFolder::Open(folder, Config(golden).names);
  EXPECT_TRUE(hf.ok()) << hf.status();
  auto parameters = ParameterSet::Create(Config(golden), precision, testing::TestDevice());
  EXPECT_TRUE(parameters.ok()) << parameters.status();
  const absl::Status loaded = (*parameters)->Load(**hf);
  EXPECT_TRUE(loaded.ok()) << loaded;
  return *std::move(parameters);
}

// The documents `which` of the golden as one sequence.
inline Microbatch Pack(const nlohmann::json& golden, const std::vector<size_t>& which) {
  Microbatch batch;
  for (size_t index : which) {
    const auto ids = golden["documents"][index]["ids"].get<std::vector<int32_t>>();
    const auto labels = golden["documents"][index]["labels"].get<std::vector<int32_t>>();
    for (size_t t = 0; t < ids.size(); ++t) {
      batch.ids.push_back(ids[t]);
      batch.labels.push_back(labels[t]);
      batch.targets.push_back(t + 1 < ids.size() ? labels[t + 1] : kIgnoreIndex);
      batch.positions.push_back(static_cast<int32_t>(t));
      batch.target_tokens += batch.targets.back() != kIgnoreIndex;
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.ids.size()));
    batch.examples.push_back(static_cast<int64_t>(index));
  }
  return batch;
}

}  // namespace trainerd::engine::golden
