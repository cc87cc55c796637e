// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/placeholder_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace trainerd::engine {

std::string PlaceholderText(std::string_view path, std::string_view head) {
  const absl::string_view text = absl::StripLeadingAsciiWhitespace({head.data(), head.size()});
  const size_t slash = path.rfind('/');
  const std::string folder(slash == std::string_view::npos ? "." : path.substr(0, slash));
  if (absl::StartsWith(text, "version https://git-lfs.github.com/spec/")) {
    return absl::StrCat("the file is a Git LFS pointer, not the content; run git lfs pull in ",
                        folder, ", or download the file again");
  }
  if (absl::StartsWithIgnoreCase(text, "<!doctype html") ||
      absl::StartsWithIgnoreCase(text, "<html")) {
    return "the file is an HTML page, not the content, probably of a download that was refused; "
           "download the file again";
  }
  return "";
}

}  // namespace trainerd::engine
