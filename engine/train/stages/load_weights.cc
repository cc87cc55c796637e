// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/model/adapter_loader.h"
#include "engine/platform/torch_status.h"
#include "engine/train/decoder_options.h"
#include "engine/train/stages/stages.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

// A new value of the enum must not compile until it is handled.
#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

absl::StatusOr<Precision> PrecisionOf(const v1::TrainConfig& train) {
  switch (train.precision()) {
    case v1::TrainConfig::PRECISION_FP32:
      return Precision::kFp32;
    case v1::TrainConfig::PRECISION_BF16:
      return Precision::kBf16;
    case v1::TrainConfig::PRECISION_BF16_SR:
      return train.gradient_accumulation() > 1 ? Precision::kBf16SrAccumulating
                                               : Precision::kBf16Sr;
    case v1::TrainConfig::PRECISION_UNSPECIFIED:
    case kMinSentinel<v1::TrainConfig::Precision>:
    case kMaxSentinel<v1::TrainConfig::Precision>:
      break;
  }
  return absl::InternalError(
      absl::StrCat("train.precision has the unknown value ", static_cast<int>(train.precision())));
}

absl::StatusOr<Quantization> QuantizationOf(v1::ModelConfig::Quantization quantization) {
  switch (quantization) {
    case v1::ModelConfig::QUANTIZATION_NONE:
      return Quantization::kNone;
    case v1::ModelConfig::QUANTIZATION_NF4:
      return Quantization::kNf4;
    case v1::ModelConfig::QUANTIZATION_UNSPECIFIED:
    case kMinSentinel<v1::ModelConfig::Quantization>:
    case kMaxSentinel<v1::ModelConfig::Quantization>:
      break;
  }
  return absl::InternalError(
      absl::StrCat("model.quantization has the unknown value ", static_cast<int>(quantization)));
}

void ReportQuantization(const AttemptContext& context) {
  const ParameterSet& parameters = *context.parameters;
  EmitNotice(context.events, v1::Notice::INFO, "QUANTIZED_MODEL",
             absl::StrCat("model.quantization: nf4: the frozen weights take ",
                          FormatBytes(parameters.frozen_bytes()), " of memory, ",
                          FormatBytes(parameters.frozen_bytes_unquantized()), " without it"));
}

// Loads the adapter that the job starts from, or initializes a new one.
absl::Status StartAdapter(AttemptContext& context) {
  ParameterSet& parameters = *context.parameters;
  RETURN_IF_ERROR(context.adapter_weights == nullptr
                      ? parameters.InitAdapter(static_cast<uint64_t>(context.config.train().seed()))
                      : LoadAdapter(*context.adapter_weights, parameters));
  context.adapter_weights.reset();
  const double percent = 100.0 * static_cast<double>(parameters.num_training()) /
                         static_cast<double>(parameters.num_parameters());
  EmitNotice(context.events, v1::Notice::INFO, "LORA_PARAMETERS",
             absl::StrFormat("lora: %d of %d parameters train (%.3g %%), in adapters of %d layers "
                             "with r %d and scale %.4g",
                             parameters.num_training(), parameters.num_parameters(), percent,
                             context.adapter->targets.size(), context.adapter->rank,
                             context.adapter->scale()));
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadWeights(AttemptContext& context) {
  ASSIGN_OR_RETURN(const Precision precision, PrecisionOf(context.config.train()));
  ASSIGN_OR_RETURN(const DecoderOptions options, DecoderOptionsOf(context.config.train()));
  ASSIGN_OR_RETURN(const Quantization quantization,
                   QuantizationOf(context.config.model().quantization()));
  const AdapterSpec* adapter = context.adapter.has_value() ? &*context.adapter : nullptr;
  if (IsPureBf16(precision) && context.device.is_cuda()) {
    return absl::InvalidArgumentError(
        "train.precision: bf16_sr computes on the CPU only; set resources.device: cpu, or "
        "train.precision: bf16");
  }
  ASSIGN_OR_RETURN(context.parameters,
                   ParameterSet::Create(context.model, precision, context.device, context.frozen,
                                        adapter, quantization));
  RETURN_IF_ERROR(context.parameters->Load(*context.weights));
  context.weights.reset();
  if (quantization != Quantization::kNone) ReportQuantization(context);
  if (adapter != nullptr) RETURN_IF_ERROR(StartAdapter(context));
  if (!context.frozen.empty()) {
    EmitNotice(context.events, v1::Notice::INFO, "FROZEN_PARAMETERS",
               absl::StrCat("train.freeze: ", context.parameters->num_training(), " of ",
                            context.parameters->num_parameters(), " parameters train; ",
                            context.frozen.size(), " of ", context.parameters->parameters().size(),
                            " tensors are frozen"));
  }
  const std::string checkpointing =
      CheckpointingText(context.model, precision, options.activation_checkpointing);
  if (!checkpointing.empty())
    EmitNotice(context.events, v1::Notice::INFO, "ACTIVATION_CHECKPOINTING", checkpointing);
  return CatchTorch([&] {
    context.decoder = std::make_unique<Decoder>(context.model, *context.parameters, options);
  });
}

}  // namespace trainerd::engine
