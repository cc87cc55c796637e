// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/platform/torch_status.h"
#include "engine/train/stages/stages.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"

// A new value of the enum must not compile until it is handled.
#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

absl::StatusOr<Precision> PrecisionOf(v1::TrainConfig::Precision precision) {
  switch (precision) {
    case v1::TrainConfig::PRECISION_FP32:
      return Precision::kFp32;
    case v1::TrainConfig::PRECISION_BF16:
      return Precision::kBf16;
    case v1::TrainConfig::PRECISION_UNSPECIFIED:
    case kMinSentinel<v1::TrainConfig::Precision>:
    case kMaxSentinel<v1::TrainConfig::Precision>:
      break;
  }
  return absl::InternalError(
      absl::StrCat("train.precision has the unknown value ", static_cast<int>(precision)));
}

}  // namespace

absl::Status LoadWeights(AttemptContext& context) {
  ASSIGN_OR_RETURN(const Precision precision, PrecisionOf(context.config.train().precision()));
  ASSIGN_OR_RETURN(context.parameters,
                   ParameterSet::Create(context.model, precision, context.device, context.frozen));
  RETURN_IF_ERROR(context.parameters->Load(*context.weights));
  context.weights.reset();
  if (!context.frozen.empty()) {
    EmitNotice(context.events, v1::Notice::INFO, "FROZEN_PARAMETERS",
               absl::StrCat("train.freeze: ", context.parameters->num_training(), " of ",
                            context.parameters->num_parameters(), " parameters train; ",
                            context.frozen.size(), " of ", context.parameters->parameters().size(),
                            " tensors are frozen"));
  }
  return CatchTorch(
      [&] { context.decoder = std::make_unique<Decoder>(context.model, *context.parameters); });
}

}  // namespace trainerd::engine
