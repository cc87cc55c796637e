// SPDX-License-Identifier: Apache-2.0
// Files that a download left in place of the real ones: Git LFS pointers and HTML pages. No
// LibTorch.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace trainerd::engine {

// Each compares at most the first 64 bytes, of which white space may be the first.
bool IsGitLfsPointer(std::string_view head);
bool IsHtmlPage(std::string_view head);

// What the file at `path`, which begins with `head`, is instead of the file that its name promises,
// with what to do, for a message; "" if it is neither.
std::string PlaceholderText(std::string_view path, std::string_view head);

// The contents of the file at `path`. Errors: those of ReadFile; DataLoss with PlaceholderText.
absl::StatusOr<std::string> ReadRealFile(const std::string& path);

}  // namespace trainerd::engine
