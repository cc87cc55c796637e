// SPDX-License-Identifier: Apache-2.0
#include "engine/train/decoder_options.h"

#include "absl/strings/str_cat.h"
#include "engine/model/activation_memory.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

// A new value of an enum must not compile until it is handled.
#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

absl::Status UnknownValue(const char* key, int value) {
  return absl::InternalError(absl::StrCat(key, " has the unknown value ", value));
}

absl::StatusOr<ActivationCheckpointing> CheckpointingOf(
    v1::TrainConfig::ActivationCheckpointing checkpointing) {
  switch (checkpointing) {
    case v1::TrainConfig::ACTIVATION_CHECKPOINTING_UNSPECIFIED:
    case v1::TrainConfig::ACTIVATION_CHECKPOINTING_NONE:
      return ActivationCheckpointing::kNone;
    case v1::TrainConfig::ACTIVATION_CHECKPOINTING_SELECTIVE:
      return ActivationCheckpointing::kSelective;
    case v1::TrainConfig::ACTIVATION_CHECKPOINTING_FULL:
      return ActivationCheckpointing::kFull;
    case kMinSentinel<v1::TrainConfig::ActivationCheckpointing>:
    case kMaxSentinel<v1::TrainConfig::ActivationCheckpointing>:
      break;
  }
  return UnknownValue("train.activation_checkpointing", static_cast<int>(checkpointing));
}

absl::StatusOr<SurpriseMeasure> MeasureOf(v1::TokenWeightingConfig::Measure measure) {
  switch (measure) {
    case v1::TokenWeightingConfig::MEASURE_ENTROPY:
      return SurpriseMeasure::kEntropy;
    case v1::TokenWeightingConfig::MEASURE_CONFIDENCE:
      return SurpriseMeasure::kConfidence;
    case v1::TokenWeightingConfig::MEASURE_PERPLEXITY:
      return SurpriseMeasure::kPerplexity;
    case v1::TokenWeightingConfig::MEASURE_MARGIN:
      return SurpriseMeasure::kMargin;
    case v1::TokenWeightingConfig::MEASURE_UNSPECIFIED:
    case kMinSentinel<v1::TokenWeightingConfig::Measure>:
    case kMaxSentinel<v1::TokenWeightingConfig::Measure>:
      break;
  }
  return UnknownValue("train.token_weighting.measure", static_cast<int>(measure));
}

}  // namespace

absl::StatusOr<DecoderOptions> DecoderOptionsOf(const v1::TrainConfig& config) {
  DecoderOptions options{.label_smoothing = config.label_smoothing()};
  ASSIGN_OR_RETURN(options.activation_checkpointing,
                   CheckpointingOf(config.activation_checkpointing()));
  if (!config.has_token_weighting()) return options;
  const v1::TokenWeightingConfig& weighting = config.token_weighting();
  ASSIGN_OR_RETURN(const SurpriseMeasure measure, MeasureOf(weighting.measure()));
  options.token_weighting = TokenWeighting{.measure = measure,
                                           .normalize = weighting.normalize(),
                                           .min_weight = weighting.min_weight(),
                                           .max_weight = weighting.max_weight()};
  return options;
}

absl::StatusOr<PreferenceOptions> PreferenceOptionsOf(const v1::PreferenceConfig& config) {
  PreferenceOptions options{.beta = config.beta()};
  switch (config.loss()) {
    case v1::PreferenceConfig::LOSS_SIGMOID:
      options.loss = PreferenceLoss::kSigmoid;
      return options;
    case v1::PreferenceConfig::LOSS_IPO:
      options.loss = PreferenceLoss::kIpo;
      return options;
    case v1::PreferenceConfig::LOSS_UNSPECIFIED:
    case kMinSentinel<v1::PreferenceConfig::Loss>:
    case kMaxSentinel<v1::PreferenceConfig::Loss>:
      break;
  }
  return UnknownValue("preference.loss", static_cast<int>(config.loss()));
}

std::string CheckpointingText(const ModelConfig& config, Precision precision,
                              ActivationCheckpointing checkpointing) {
  if (checkpointing == ActivationCheckpointing::kNone) return "";
  const auto kept = [&](ActivationCheckpointing mode) {
    return KeptBytesPerToken(config, precision, mode);
  };
  return absl::StrCat(
      "train.activation_checkpointing: for each token of a microbatch, the layers "
      "keep ",
      FormatBytes(kept(checkpointing)), " for the backward pass instead of ",
      FormatBytes(kept(ActivationCheckpointing::kNone)));
}

}  // namespace trainerd::engine
