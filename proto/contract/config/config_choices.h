// SPDX-License-Identifier: Apache-2.0
// Questions that several parts ask about the words of a job file. Each is one switch without a
// default, so a new word does not compile until it has an answer. Unspecified values, which a
// resolved configuration does not hold, answer false.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// A record that cannot be used is skipped and counted; otherwise the job fails.
bool SkipsBadRecords(v1::DataConfig::BadRows bad_rows);

// A sequence holds several documents.
bool PacksDocuments(v1::DataConfig::Packing packing);

// An example longer than max_length continues in further documents instead of being cut.
bool SplitsLongExamples(v1::DataConfig::Packing packing);

// Examples that a record becomes: with preference the chosen and the rejected answer.
int32_t ExamplesPerRecord(const v1::JobConfig& config);

// Tokens of a packed sequence at most: data.max_length for each example of a record.
int64_t PackedTokens(const v1::JobConfig& config);

// Every token is a target, whoever wrote it.
bool TrainsAllTokens(v1::DataConfig::TrainOn train_on);

// The job continues with the optimizer, step and data position of its checkpoint, not only with the
// weights.
bool ContinuesFromCheckpoint(v1::InitFromConfig::State state);

// final/ holds the adapter of a job with lora, not the whole model. A resolved job without lora has
// no form.
bool WritesAdapter(v1::OutputConfig::Form form);

// What the optimizer keeps for parameters that train, by the names in a checkpoint; not all of it
// for each parameter (engine/model/folder/optimizer_state.h). Empty: SGD without momentum keeps
// nothing.
std::vector<std::string> OptimizerStates(const v1::OptimizerConfig& optimizer);

}  // namespace trainerd
