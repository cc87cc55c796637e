// SPDX-License-Identifier: Apache-2.0
// The small files of a Hugging Face model folder, which checkpoints and the final model keep. No
// LibTorch.
#pragma once

#include <string>
#include <vector>

namespace trainerd::engine {

inline constexpr char kNamedTemplates[] = "additional_chat_templates";

// Those that exist in `folder`, relative to it: config.json, generation_config.json, the
// tokenizer's files (tokenizer*, chat_template.*, additional_chat_templates/*.jinja,
// special_tokens_map.json, added_tokens.json, vocab.json, merges.txt) and those of a
// vision-language model's processor (preprocessor_config.json, processor_config.json,
// video_preprocessor_config.json).
std::vector<std::string> ModelFiles(const std::string& folder);
// Those that belong beside an adapter: all but config.json, which is that of a whole model.
std::vector<std::string> AdapterFiles(const std::string& folder);

}  // namespace trainerd::engine
