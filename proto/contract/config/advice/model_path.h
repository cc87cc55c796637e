// SPDX-License-Identifier: Apache-2.0
// The messages for a model.path that is not a folder: daemon, worker and trainerd-inspect use the
// same words.
#pragma once

#include <string>

namespace trainerd {

// "no such folder: PATH; …". If the path ends like the id of a model on the Hugging Face Hub
// (Qwen/Qwen3-0.6B) and the folder before the last two names exists alone, the text has the command
// that downloads the model to that path.
std::string NoModelFolderText(const std::string& path);

}  // namespace trainerd
