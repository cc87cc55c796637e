// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_choices.h"

#include "proto/base/enum_sentinels.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd {

using v1::DataConfig;

bool SkipsBadRecords(DataConfig::BadRows bad_rows) {
  switch (bad_rows) {
    case DataConfig::BAD_ROWS_SKIP:
      return true;
    case DataConfig::BAD_ROWS_FAIL:
    case DataConfig::BAD_ROWS_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::BadRows>:
    case kMaxSentinel<v1::DataConfig::BadRows>:
      return false;
  }
  return false;
}

bool PacksDocuments(DataConfig::Packing packing) {
  switch (packing) {
    case DataConfig::PACKING_BFD:
    case DataConfig::PACKING_BFD_SPLIT:
      return true;
    case DataConfig::PACKING_NONE:
    case DataConfig::PACKING_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::Packing>:
    case kMaxSentinel<v1::DataConfig::Packing>:
      return false;
  }
  return false;
}

bool SplitsLongExamples(DataConfig::Packing packing) {
  switch (packing) {
    case DataConfig::PACKING_BFD_SPLIT:
      return true;
    case DataConfig::PACKING_BFD:
    case DataConfig::PACKING_NONE:
    case DataConfig::PACKING_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::Packing>:
    case kMaxSentinel<v1::DataConfig::Packing>:
      return false;
  }
  return false;
}

int32_t ExamplesPerRecord(const v1::JobConfig& config) { return config.has_preference() ? 2 : 1; }

int64_t PackedTokens(const v1::JobConfig& config) {
  return int64_t{config.data().max_length()} * ExamplesPerRecord(config);
}

bool TrainsAllTokens(DataConfig::TrainOn train_on) {
  switch (train_on) {
    case DataConfig::TRAIN_ON_ALL:
      return true;
    case DataConfig::TRAIN_ON_ASSISTANT:
    case DataConfig::TRAIN_ON_LAST_ASSISTANT:
    case DataConfig::TRAIN_ON_TEMPLATE:
    case DataConfig::TRAIN_ON_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::TrainOn>:
    case kMaxSentinel<v1::DataConfig::TrainOn>:
      return false;
  }
  return false;
}

bool ContinuesFromCheckpoint(v1::InitFromConfig::State state) {
  switch (state) {
    case v1::InitFromConfig::STATE_FULL:
      return true;
    case v1::InitFromConfig::STATE_WEIGHTS:
    case v1::InitFromConfig::STATE_UNSPECIFIED:
    case kMinSentinel<v1::InitFromConfig::State>:
    case kMaxSentinel<v1::InitFromConfig::State>:
      return false;
  }
  return false;
}

bool WritesAdapter(v1::OutputConfig::Form form) {
  switch (form) {
    case v1::OutputConfig::FORM_ADAPTER:
      return true;
    case v1::OutputConfig::FORM_MERGED:
    case v1::OutputConfig::FORM_UNSPECIFIED:
    case kMinSentinel<v1::OutputConfig::Form>:
    case kMaxSentinel<v1::OutputConfig::Form>:
      return false;
  }
  return false;
}

std::vector<std::string> OptimizerStates(const v1::OptimizerConfig& optimizer) {
  switch (optimizer.type()) {
    case v1::OptimizerConfig::TYPE_ADAMW:
      return {"exp_avg", "exp_avg_sq"};
    case v1::OptimizerConfig::TYPE_SGD:
      if (optimizer.momentum() > 0) return {"momentum_buffer"};
      return {};
    case v1::OptimizerConfig::TYPE_MUON:
      if (optimizer.momentum() > 0) return {"momentum_buffer", "exp_avg", "exp_avg_sq"};
      return {"exp_avg", "exp_avg_sq"};
    case v1::OptimizerConfig::TYPE_ADAMW_8BIT:
      return {"exp_avg_8bit",      "exp_avg_absmax", "exp_avg_sq_8bit",
              "exp_avg_sq_absmax", "exp_avg",        "exp_avg_sq"};
    case v1::OptimizerConfig::TYPE_UNSPECIFIED:
    case kMinSentinel<v1::OptimizerConfig::Type>:
    case kMaxSentinel<v1::OptimizerConfig::Type>:
      return {};
  }
  return {};
}

}  // namespace trainerd
