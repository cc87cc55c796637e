// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/model_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"

namespace trainerd::engine {

std::vector<std::string> ModelFiles(const std::string& folder) {
  constexpr const char* kFiles[] = {"config.json",
                                    "generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "tokenizer.model",
                                    "chat_template.jinja",
                                    "chat_template.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "preprocessor_config.json",
                                    "processor_config.json",
                                    "video_preprocessor_config.json"};
  std::vector<std::string> names;
  for (const char* name : kFiles) {
    if (PathExists(absl::StrCat(folder, "/", name))) names.emplace_back(name);
  }
  std::error_code error;
  const std::string templates = absl::StrCat(folder, "/", kNamedTemplates);
  for (std::filesystem::directory_iterator it(templates, error), end; !error && it != end;
       it.increment(error)) {
    const std::filesystem::path& path = it->path();
    if (path.extension() == ".jinja")
      names.push_back(absl::StrCat(kNamedTemplates, "/", path.filename().string()));
  }
  return names;
}

std::vector<std::string> AdapterFiles(const std::string& folder) {
  std::vector<std::string> names = ModelFiles(folder);
  std::erase(names, "config.json");
  return names;
}

}  // namespace trainerd::engine
