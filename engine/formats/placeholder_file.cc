// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/placeholder_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

absl::string_view Text(std::string_view head) {
  return absl::StripLeadingAsciiWhitespace(absl::string_view(head.data(), head.size()));
}

}  // namespace

bool IsGitLfsPointer(std::string_view head) {
  return absl::StartsWith(Text(head), "version https://git-lfs.github.com/spec/");
}

bool IsHtmlPage(std::string_view head) {
  const absl::string_view text = Text(head);
  return absl::StartsWithIgnoreCase(text, "<!doctype html") ||
         absl::StartsWithIgnoreCase(text, "<html");
}

std::string PlaceholderText(std::string_view path, std::string_view head) {
  if (IsGitLfsPointer(head)) {
    const size_t slash = path.rfind('/');
    const std::string folder(slash == std::string_view::npos ? "." : path.substr(0, slash));
    return absl::StrCat("the file is a Git LFS pointer, not the content; run git lfs pull in ",
                        folder, ", or download the file again");
  }
  if (IsHtmlPage(head)) {
    return "the file is an HTML page, not the content, probably of a download that was refused; "
           "download the file again";
  }
  return "";
}

absl::StatusOr<std::string> ReadRealFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  const std::string placeholder = PlaceholderText(path, text);
  if (placeholder.empty()) return text;
  return absl::DataLossError(absl::StrCat(path, ": ", placeholder));
}

}  // namespace trainerd::engine
