// SPDX-License-Identifier: Apache-2.0
// Five checks of what is trained, on sampled rows as the training loop will see them, before any
// weight is loaded. They guard against the fault that costs most and shows least: training on the
// wrong tokens.
#pragma once

#include "engine/data/prepare.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Rows that are looked at: all, or a seeded sample of this many.
inline constexpr int64_t kMaskingSampleRows = 64;

// The report, with the digest of the first step's rows (FirstRowsDigest). A failed check with error
// = true must end the job.
//   transitions   error: in each row, runs of trained tokens = spans that the template renderer
//   recorded coverage      error: at least 90 % of the recorded spans' tokens are trained, in each
//   row distribution  error: no row is untrained, and none is trained from end to end unless
//   data.train_on is "all" ratio         warning: 15 % to 95 % of all tokens are trained content
//   warning: trained text does not contain what opens another role's turn
// Tokens that are the first of their document count as trained here when they carry a label, though
// nothing predicts them. Source: the replaced system's masking validators, over tokens without
// padding.
// A conversation that packing: bfd_split cut into pieces is looked at as a whole. Errors: those of
// TokenStore::Read.
absl::StatusOr<v1::MaskingReport> CheckMasking(const PreparedData& data,
                                               const v1::JobConfig& config,
                                               const Tokenizer& tokenizer);

// OK, or InvalidArgument that names the checks which failed with error = true.
absl::Status MaskingStatus(const v1::MaskingReport& report);

}  // namespace trainerd::engine
