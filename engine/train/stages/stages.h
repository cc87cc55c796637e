// SPDX-License-Identifier: Apache-2.0
// The stages of a job, in the order in which RunJob runs them, one file each. Stage Train is
// TrainLoop in engine/train/loop. Each stage reads what the stages before it stored in the context,
// and stores its own results there. All of them return Cancelled if a discard is requested.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"
#include "proto/contract/config/config_digest.h"

namespace trainerd::engine {

// Checks that this attempt may publish, opens the device, verifies the checkpoint to start from and
// compares its configuration with the job's. A resume allows another max_steps or epochs (reported
// as a Notice) and no other difference that changes the numbers. init_from allows and reports any
// difference. Errors: FailedPrecondition that names the fields with both values.
absl::Status CheckRunIdentity(AttemptContext& context);

// Reads config.json, the headers of the weights, the tokenizer, the chat template and the sample
// prompts, and resolves train.freeze and lora. Reads no weights but those of an adapter. Errors:
// InvalidArgument, NotFound, DataLoss.
absl::Status OpenModel(AttemptContext& context);

// Validates, tokenizes and packs the data and emits the DataReport. Checks that every token has a
// row in the embedding and, for a resume, that the data is that of the checkpoint. Errors: those of
// PrepareData in engine/data; InvalidArgument; FailedPrecondition.
absl::Status PrepareData(AttemptContext& context);

// Checks that the labels cover what data.train_on selects, and emits the MaskingReport. Errors:
// those of MaskingStatus.
absl::Status CheckMasking(AttemptContext& context);

// Loads the weights onto the device, loads or initializes the adapter, and builds the decoder.
// Errors: ResourceExhausted with the bytes needed; those of HfFolder.
absl::Status LoadWeights(AttemptContext& context);

// Allocates the optimizer and its state. Before, unless the attempt resumes: warns if what the job
// will write does not fit on the disk. Errors: cause STORAGE, code DISK_SPACE and
// context.needed_bytes if there is no space for the first checkpoint; those of MakeOptimizer.
absl::Status BuildOptimizer(AttemptContext& context);

// Restores optimizer state, fp32 masters and the state of the run from the checkpoint to start
// from, if there is one. Errors: those of ReadOptimizerFile.
absl::Status Restore(AttemptContext& context);

// With preference only: the log-probabilities of all pairs under the reference, which is the model
// at the start of the job (with lora: without the adapter). Computes them unless the run directory
// has them, and keeps them there. Errors: those of reference_file.h; FailedPrecondition if the
// directory lost them and the model of the start no longer exists; cause NUMERICS if one is not
// finite.
absl::Status ComputeReference(AttemptContext& context);

// Writes final/ in the dtype of the source, or the adapter (output.form), copies it to output.path
// and emits the RunSummary. A verified final/ of this job, step and configuration is kept (a crash
// after its rename leaves one). Errors: cause STORAGE with the numbers if it cannot be written;
// Cancelled.
absl::Status SaveFinal(AttemptContext& context);

// Parts that another stage uses:

// Compares the data fingerprint with that of the checkpoint, as CheckRunIdentity does with the
// configuration.
absl::Status CheckDataIdentity(AttemptContext& context);

// The fields that change the numbers and differ from those of the checkpoint in init_from.
std::vector<ConfigDifference> InitDifferences(const AttemptContext& context);

}  // namespace trainerd::engine
