// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/upload_path.h"

#include "proto/base/plain_text.h"

namespace trainerd {
namespace {

constexpr std::string_view kFiles = "files/";
constexpr size_t kSha256Digits = 64;
constexpr size_t kMaxNameBytes = 255;

bool IsFileName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         name.find('/') == name.npos && !HasControlCharacter(name);
}

}  // namespace

bool IsSha256Hex(std::string_view text) {
  return text.size() == kSha256Digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::optional<std::string> ParseUploadName(std::string_view name) {
  if (!name.starts_with(kFiles)) return std::nullopt;
  name.remove_prefix(kFiles.size());
  if (!IsSha256Hex(name)) return std::nullopt;
  return std::string(name);
}

std::string UploadName(std::string_view sha256_hex) {
  return std::string(kFiles).append(sha256_hex);
}

std::optional<UploadPath> ParseUploadPath(std::string_view path) {
  const size_t end = kFiles.size() + kSha256Digits;
  if (path.size() <= end || path[end] != '/') return std::nullopt;
  const std::optional<std::string> sha256 = ParseUploadName(path.substr(0, end));
  const std::string_view name = path.substr(end + 1);
  if (!sha256.has_value() || !IsFileName(name)) return std::nullopt;
  return UploadPath{.sha256_hex = *sha256, .file_name = std::string(name)};
}

std::string FormatUploadPath(const UploadPath& path) {
  return UploadName(path.sha256_hex).append("/").append(path.file_name);
}

}  // namespace trainerd
