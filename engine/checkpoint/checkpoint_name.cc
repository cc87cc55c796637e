// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint_name.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace trainerd::engine {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-a";

bool ParseNumber(std::string_view digits, int64_t* value) {
  return !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos &&
         absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), value);
}

}  // namespace

std::string CheckpointName(const CheckpointId& id) {
  return absl::StrFormat("step-%08d-a%d", id.step, id.attempt);
}

std::optional<CheckpointId> ParseCheckpointName(std::string_view name) {
  if (name.substr(0, kStepPrefix.size()) != kStepPrefix) return std::nullopt;
  const size_t separator = name.find("-a", kStepPrefix.size());
  if (separator == std::string_view::npos) return std::nullopt;
  CheckpointId id;
  int64_t attempt = 0;
  if (!ParseNumber(name.substr(kStepPrefix.size(), separator - kStepPrefix.size()), &id.step) ||
      !ParseNumber(name.substr(separator + 2), &attempt)) {
    return std::nullopt;
  }
  id.attempt = static_cast<int32_t>(attempt);
  if (CheckpointName(id) != name) return std::nullopt;
  return id;
}

std::string TemporaryName(int32_t attempt, std::string_view what) {
  return absl::StrFormat(".tmp-a%d-%s", attempt, std::string(what));
}

std::optional<int32_t> TemporaryAttempt(std::string_view name) {
  if (name.substr(0, kTemporaryPrefix.size()) != kTemporaryPrefix) return std::nullopt;
  const size_t separator = name.find('-', kTemporaryPrefix.size());
  if (separator == std::string_view::npos) return std::nullopt;
  int64_t attempt = 0;
  if (!ParseNumber(name.substr(kTemporaryPrefix.size(), separator - kTemporaryPrefix.size()),
                   &attempt)) {
    return std::nullopt;
  }
  return static_cast<int32_t>(attempt);
}

}  // namespace trainerd::engine
