// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/model_path.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/base/plain_text.h"

namespace trainerd {
namespace {

bool IsHubName(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
}

// The last two names of `path`, "" if they are no id of the Hub.
std::string HubId(const std::filesystem::path& path) {
  const std::filesystem::path owner = path.parent_path();
  std::error_code error;
  if (!IsHubName(path.filename()) || !IsHubName(owner.filename())) return "";
  return std::filesystem::exists(owner, error) ? "" : (owner.filename() / path.filename()).string();
}

}  // namespace

std::string NoModelFolderText(const std::string& path) {
  const std::string id = HubId(path);
  return absl::StrCat(
      "no such folder: ", path, "; set model.path to the folder of a Hugging Face model",
      id.empty() ? ""
                 : absl::StrCat(". If ", id,
                                " is a model of the Hugging Face Hub, download it first: hf "
                                "download ",
                                id, " --local-dir ", ShellWord(path)));
}

}  // namespace trainerd
