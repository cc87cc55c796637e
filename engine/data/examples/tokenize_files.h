// SPDX-License-Identifier: Apache-2.0
// The first half of PrepareData: the job's files → a token store, from the cache if it has one.
// Random choices come afterwards (sequence_plan.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/examples/prepare_options.h"
#include "engine/data/source/findings.h"
#include "engine/data/source/text_pipeline.h"
#include "engine/data/store/token_store.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

struct TokenizedFiles {
  // The training set's examples, then those of data.validation.
  std::unique_ptr<TokenStore> store;
  bool from_cache = false;
  // A file or a record of the set could not be used, and the findings name it as an error.
  bool train_has_errors = false;
  bool validation_has_errors = false;
  std::vector<std::string> notes;  // see PreparedData
};

// Adds its findings to `findings`. `progress` receives fractions of this half. Errors: those of
// PrepareData.
absl::StatusOr<TokenizedFiles> TokenizeFiles(const v1::JobConfig& config, const TextPipeline& text,
                                             const PrepareProgress& progress,
                                             const PrepareOptions& options, Findings* findings);

}  // namespace trainerd::engine
