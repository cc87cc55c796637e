// SPDX-License-Identifier: Apache-2.0
// How a job names an upload (service Files) in place of a path: files/SHA256/NAME.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trainerd {

// 64 hexadecimal digits, lower case.
bool IsSha256Hex(std::string_view text);

// files/SHA256 → SHA256, and back. nullopt for every other form.
std::optional<std::string> ParseUploadName(std::string_view name);
std::string UploadName(std::string_view sha256_hex);

struct UploadPath {
  std::string sha256_hex;
  // As of a local file, without a folder.
  std::string file_name;
};
// files/SHA256/NAME. nullopt for every other form.
std::optional<UploadPath> ParseUploadPath(std::string_view path);
std::string FormatUploadPath(const UploadPath& path);

}  // namespace trainerd
