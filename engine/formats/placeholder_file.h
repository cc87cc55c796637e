// SPDX-License-Identifier: Apache-2.0
// Files that a download left in place of the real ones: Git LFS pointers and HTML pages. No
// LibTorch.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::engine {

// What the file at `path`, which begins with `head`, is instead of the file that its name promises,
// with what to do, for a message; "" if it is neither. The longest prefix compared is 64 bytes.
std::string PlaceholderText(std::string_view path, std::string_view head);

}  // namespace trainerd::engine
