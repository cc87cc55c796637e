// SPDX-License-Identifier: Apache-2.0
// Checks of what is trained, on sampled sequences exactly as the training loop receives them,
// before any weight is loaded. They guard against the error that costs most and shows least:
// training on the wrong tokens.
#pragma once

#include "engine/data/prepare.h"
#include "engine/data/source/text_pipeline.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Sequences that are checked: all, or a seeded sample of this many.
inline constexpr int64_t kMaskingSampleRows = 64;

// The report, with the digest of the first step's sequences (FirstRowsDigest). A failed check with
// error = true must end the job.
//   transitions    error: in each sequence, the stretches of trained tokens are the spans that the
//                  template renderer recorded
//   coverage       error: at least 90 % of the recorded spans' tokens are trained, in each sequence
//   distribution   error: no sequence is untrained, and none is trained from end to end unless
//                  data.train_on is "all"
//   ratio          warning: 15 % to 95 % of all tokens are trained
//   content        warning: trained text does not contain the opening of another role's turn
//   content_form   no check: how the content of user messages that is a list of text parts reaches
//                  the template, "list" or "joined text"
// With `preference` both answers of each sampled pair are checked, and the spans are what the
// renderer assigns to the answers. The first token of a document counts as trained here if it
// carries a label, although no token predicts it. A conversation that packing: bfd_split cut into
// pieces is checked as a whole.
// Errors: those of TokenStore::Read.
absl::StatusOr<v1::MaskingReport> CheckMasking(const PreparedData& data,
                                               const v1::JobConfig& config,
                                               const TextPipeline& text);

// OK, or InvalidArgument that names the failed checks with error = true.
absl::Status MaskingStatus(const v1::MaskingReport& report);

}  // namespace trainerd::engine
