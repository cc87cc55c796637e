// SPDX-License-Identifier: Apache-2.0
// Which jobs a label_selector selects. The head of trainer.proto has the grammar.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/map.h"

namespace trainerd {

struct LabelRequirement {
  enum class Kind {
    // The value is one of `values`.
    kIn,
    // The value is none of `values`, or the key is absent.
    kNotIn,
    kExists,
    kAbsent,
  };
  Kind kind = Kind::kExists;
  std::string key;
  // Sorted, each once. Of kIn and kNotIn: at least one.
  std::vector<std::string> values;

  bool operator==(const LabelRequirement&) const = default;
};

inline constexpr size_t kMaxLabelKeyBytes = 63;
inline constexpr size_t kMaxLabelValueBytes = 256;

using LabelMap = google::protobuf::Map<std::string, std::string>;

struct LabelSelector {
  // All must hold. Empty: every job matches.
  std::vector<LabelRequirement> requirements;

  bool empty() const { return requirements.empty(); }
  bool Matches(const LabelMap& labels) const;
  // Labels in another form: `value_of` returns the value of a key, nullopt if it is absent.
  using ValueOf = std::function<std::optional<std::string_view>(const std::string& key)>;
  bool MatchesLabels(const ValueOf& value_of) const;
};

// Errors: InvalidArgument with what is wrong, and at which byte.
absl::StatusOr<LabelSelector> ParseLabelSelector(std::string_view text);

// [A-Za-z0-9._/-]{1,63}
bool IsLabelKey(std::string_view key);
// Up to 256 bytes of UTF-8 without control characters.
bool IsLabelValue(std::string_view value);

// `value` as the grammar takes it: in quotes if it needs them.
std::string LabelValueText(std::string_view value);

}  // namespace trainerd
