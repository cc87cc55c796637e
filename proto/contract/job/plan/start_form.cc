// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/start_form.h"

#include "absl/strings/str_cat.h"

namespace trainerd {

std::string StartFormError(const v1::JobConfig& config, const std::string& folder,
                           bool holds_adapter) {
  if (config.has_lora() == holds_adapter) return "";
  if (holds_adapter) {
    return absl::StrCat(folder,
                        " holds a LoRA adapter, not a whole model; add lora to the job, or start "
                        "from a model with the adapter merged into it (output.form: merged)");
  }
  return absl::StrCat(folder,
                      " holds a whole model, and a job with lora starts from an adapter; set "
                      "model.path to that folder and remove init_from");
}

}  // namespace trainerd
