// SPDX-License-Identifier: Apache-2.0
// Seconds per update of each optimizer on SmolLM2-135M's shapes, with random gradients, and the
// bytes of its state per parameter. One JSON line per optimizer and precision of its iterations.
//
// usage: optimizer_bench [THREADS] [UPDATES]
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/optim/factory.h"
#include "engine/optim/lr_schedule.h"
#include "engine/platform/cpu_allocator.h"
#include "engine/platform/torch_status.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/knob_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd::engine {
namespace {

ModelConfig SmolLm2() {
  ModelConfig c;
  c.tie_word_embeddings = true;
  c.vocab_size = 49152, c.hidden_size = 576, c.intermediate_size = 1536, c.num_layers = 30,
  c.num_heads = 9, c.num_kv_heads = 3, c.head_dim = 64;
  c.block.layers.resize(static_cast<size_t>(c.num_layers));
  return c;
}

absl::Status Measure(const char* keys, int updates, ParameterSet& parameters) {
  v1::JobConfig config;
  YamlToMessage(absl::StrCat("optimizer: {learning_rate: 1.0e-4, ", keys, "}"), &config);
  ApplyDefaults(&config);
  ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                   MakeOptimizer(config.optimizer(), parameters));
  int64_t bytes = 0;
  for (const OptimizerState& state : optimizer->State()) {
    for (const at::Tensor& tensor : state.tensors)
      bytes += tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
  }
  std::vector<double> seconds;
  // The first one touches every buffer.
  for (int update = 0; update <= updates; ++update) {
    const auto begin = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(CatchTorch(
        [&] { optimizer->Step(LearningRatePeaks(config.optimizer()), 0.5, update + 1); }));
    if (update == 0) continue;
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  std::printf(
      "{\"bench\":\"optimizer_update\",\"optimizer\":\"%s\",\"threads\":%d,\"median_s\":%.3f,"
      "\"best_s\":%.3f,\"state_bytes_per_parameter\":%.3f}\n",
      keys, at::get_num_threads(), seconds[seconds.size() / 2], seconds.front(),
      static_cast<double>(bytes) / static_cast<double>(parameters.num_training()));
  return absl::OkStatus();
}

absl::Status Run(int updates) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters,
                   ParameterSet::Create(SmolLm2(), Precision::kFp32, at::kCPU));
  RETURN_IF_ERROR(parameters->InitRandom(1));
  RETURN_IF_ERROR(
      CatchTorch([&] { parameters->flat_grad().copy_(parameters->flat_master()).mul_(0.01); }));
  for (const char* keys : {"type: adamw", "type: adamw_8bit", "type: muon",
                           "type: muon, newton_schulz_precision: fp32"}) {
    RETURN_IF_ERROR(Measure(keys, updates, *parameters));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace trainerd::engine

int main(int argc, char** argv) {
  trainerd::engine::KeepHeap();
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2,
            updates = argc > 2 ? std::atoi(argv[2]) : 5;
  if (threads < 1 || updates < 1) {
    std::fprintf(stderr, "usage: optimizer_bench [THREADS] [UPDATES]\n");
    return 2;
  }
  at::set_num_threads(threads);
  const absl::Status status = trainerd::engine::Run(updates);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
