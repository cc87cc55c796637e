// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/platform/torch_status.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status LoadWeights(AttemptContext& context) {
  const Precision precision =
      context.config.train().precision() == "bf16" ? Precision::kBf16 : Precision::kFp32;
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
