// SPDX-License-Identifier: Apache-2.0
// The small files of the model (configuration, tokenizer, templates) that a job keeps in its run
// directory: later attempts, checkpoints and final/ do not depend on model.path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::engine {

// RUN_DIR/model: exists completely or not at all.
std::string KeptModelFolder(const std::string& run_dir);

// What the kept files say differently from those of model.path.
struct KeptModelChanges {
  // Becomes chat_template.jinja, the only template; "" = the model's own templates.
  std::string chat_template;
  // Becomes one of "eos_token_id" in generation_config.json.
  std::optional<int32_t> end_of_turn;
  // config.json gets "tie_word_embeddings": false.
  bool is_untied = false;
};

// Copies the files of model.path with the changes, durably. Returns whether generation_config.json
// differs from the model's. Errors: those of CopyModelFiles and CheckFence; InvalidArgument for
// a generation_config.json that is not a JSON object.
absl::StatusOr<bool> KeepModelFiles(const internal::AttemptSpec& spec,
                                    const KeptModelChanges& changes);

}  // namespace trainerd::engine
