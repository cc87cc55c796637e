// SPDX-License-Identifier: Apache-2.0
// Everything that the tokens of a job depend on, as one key: the contents of its data files in
// their order, the tokenizer's files, the template's text, the settings that change tokens or
// findings, and the code that makes them. Not part of it: paths and times of files, seed, weights,
// shuffling, packing (except bfd_split, which keeps long conversations whole) and batch sizes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/source/text_pipeline.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Called periodically; a non-OK status ends the work with that status.
using KeepOn = std::function<absl::Status()>;

// XXH3-128 of each data file's bytes (DataFiles). Errors: FailedPrecondition if a file is not
// regular (it can be read only once); NotFound; those of reading; those of `keep_on`.
absl::StatusOr<std::vector<std::string>> HashDataFiles(const v1::DataConfig& data,
                                                       const KeepOn& keep_on);

// 32 bytes. Errors: those of reading the tokenizer's files.
absl::StatusOr<std::string> TokenCacheKey(const v1::JobConfig& config, const TextPipeline& text,
                                          const std::vector<std::string>& file_hashes);

}  // namespace trainerd::engine
