// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/factory.h"

#include "absl/strings/str_cat.h"
#include "engine/platform/torch_status.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

// Each in its own file, engine/optim/NAME.cc.
using Maker = std::unique_ptr<Optimizer>(const v1::OptimizerConfig&, ParameterSet&);
Maker MakeAdamW, MakeSgd;

namespace {

Maker* MakerOf(const std::string& type) {
  if (type == "adamw") return MakeAdamW;
  if (type == "sgd") return MakeSgd;
  return nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const v1::OptimizerConfig& config,
                                                         ParameterSet& parameters) {
  Maker* const make = MakerOf(config.type());
  if (make == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("optimizer.type: \"", config.type(), "\" is not an optimizer"));
  }
  std::unique_ptr<Optimizer> optimizer;
  RETURN_IF_ERROR(
      Annotate(CatchTorch([&] { optimizer = make(config, parameters); }), "optimizer state"));
  return optimizer;
}

}  // namespace trainerd::engine
