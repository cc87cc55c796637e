// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/advice/model_path.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/advice/path_advice.h"

namespace trainerd {
namespace {

constexpr char kHub[] = "https://huggingface.co/";

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
  const std::string url = UrlInPath(path);
  if (absl::StartsWith(url, kHub)) {
    const std::vector<std::string> names = absl::StrSplit(url.substr(sizeof(kHub) - 1), '/');
    if (names.size() >= 2) {
      return absl::StrCat(url, " is a URL, and trainerd downloads nothing; download the model (hf ",
                          "download ", names[0], "/", names[1], " --local-dir ", names[1],
                          ") and set model.path to that folder");
    }
  }
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return absl::StrCat("not a folder: ", path, "; set model.path to the folder of a Hugging Face ",
                        "model, for example ", std::filesystem::path(path).parent_path().string());
  }
  const std::string text = absl::StrCat("no such folder: ", path,
                                        "; set model.path to the folder of a Hugging Face model");
  const std::string advice = MissingPathAdvice(path);
  if (!advice.empty()) return absl::StrCat(text, "; ", advice);
  const std::string id = HubId(path);
  if (id.empty()) return text;
  return absl::StrCat(text, ". If ", id,
                      " is a model of the Hugging Face Hub, download it first: hf download ", id,
                      " --local-dir ", ShellWord(path));
}

}  // namespace trainerd
