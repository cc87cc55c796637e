// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/factory.h"

#include "absl/strings/str_cat.h"
#include "engine/platform/torch_status.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"

// A new value of the enum must not compile until it is handled.
#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {

// Each in its own file, engine/optim/NAME.cc.
using Maker = std::unique_ptr<Optimizer>(const v1::OptimizerConfig&, ParameterSet&);
Maker MakeAdamW, MakeAdamW8bit, MakeMuon, MakeSgd;

namespace {

Maker* MakerOf(v1::OptimizerConfig::Type type) {
  switch (type) {
    case v1::OptimizerConfig::TYPE_ADAMW:
      return MakeAdamW;
    case v1::OptimizerConfig::TYPE_SGD:
      return MakeSgd;
    case v1::OptimizerConfig::TYPE_MUON:
      return MakeMuon;
    case v1::OptimizerConfig::TYPE_ADAMW_8BIT:
      return MakeAdamW8bit;
    case v1::OptimizerConfig::TYPE_UNSPECIFIED:
    case kMinSentinel<v1::OptimizerConfig::Type>:
    case kMaxSentinel<v1::OptimizerConfig::Type>:
      break;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const v1::OptimizerConfig& config,
                                                         ParameterSet& parameters) {
  Maker* const make = MakerOf(config.type());
  if (make == nullptr) {
    return absl::InternalError(
        absl::StrCat("optimizer.type has the unknown value ", static_cast<int>(config.type())));
  }
  std::unique_ptr<Optimizer> optimizer;
  RETURN_IF_ERROR(
      Annotate(CatchTorch([&] { optimizer = make(config, parameters); }), "optimizer state"));
  return optimizer;
}

}  // namespace trainerd::engine
