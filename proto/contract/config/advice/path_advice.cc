// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/advice/path_advice.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd {
namespace {

namespace fs = std::filesystem;

// A folder with more names is not searched for a similar one.
constexpr size_t kMaxNames = 10'000;

// "https:" and the like.
bool IsScheme(const std::string& name) {
  return name.size() > 2 && name.back() == ':' &&
         std::all_of(name.begin(), name.end() - 1,
                     [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); });
}

}  // namespace

std::string UrlInPath(const std::string& path) {
  std::string url;
  for (const fs::path& part : fs::path(path)) {
    const std::string name = part.string();
    if (!url.empty()) {
      absl::StrAppend(&url, url.back() == '/' ? "" : "/", name);
    } else if (IsScheme(name)) {
      url = name + "//";
    }
  }
  return url;
}

std::string MissingPathAdvice(const std::string& path) {
  if (const std::string url = UrlInPath(path); !url.empty())
    return absl::StrCat(url, " is a URL, and trainerd downloads nothing: download it first");
  if (path.find_first_of("*?") != std::string::npos)
    return "patterns are not expanded: list the files";
  if (path.find('$') != std::string::npos)
    return "variables are not expanded: write the path out, or begin it with ~/";
  const fs::path parent = fs::path(path).parent_path();
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(parent.string());
  if (!names.ok() || names->size() > kMaxNames) return "";
  std::vector<std::string> sorted = *names;
  std::sort(sorted.begin(), sorted.end());
  const std::string nearest = NearestWord(fs::path(path).filename().string(), sorted);
  return nearest.empty() ? "" : absl::StrCat("did you mean \"", nearest, "\"?");
}

}  // namespace trainerd
