// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect import: a GGUF file as a Hugging Face folder.
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/cli/inspect/commands.h"
#include "engine/model/gguf/import_model.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status RunImport(const ImportOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const ImportedModel model, ImportGguf(options.gguf_file, options.output));
  std::fprintf(out, "%s\n",
               absl::StrCat(options.output, ": ", model.model_type, ", ", model.num_tensors,
                            " tensors, ", model.num_parameters, " parameters in ", model.dtype)
                   .c_str());
  return absl::OkStatus();
}

}  // namespace trainerd::engine
