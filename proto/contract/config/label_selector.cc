// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/label_selector.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd {
namespace {

constexpr size_t kMaxSelectorBytes = 4096;

bool IsPlainCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '/' ||
         c == '-';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<LabelSelector> Parse() {
    LabelSelector selector;
    SkipSpaces();
    if (AtEnd()) return selector;
    while (true) {
      ASSIGN_OR_RETURN(LabelRequirement requirement, ParseRequirement());
      if (std::find(selector.requirements.begin(), selector.requirements.end(), requirement) ==
          selector.requirements.end())
        selector.requirements.push_back(std::move(requirement));
      if (AtEnd()) return selector;
      if (!Take(',')) return Error("expected a comma between two requirements");
    }
  }

 private:
  using Kind = LabelRequirement::Kind;

  bool AtEnd() const { return position_ == text_.size(); }
  void SkipSpaces() {
    while (!AtEnd() && text_[position_] == ' ') ++position_;
  }
  // Consumes `c` and the spaces after it.
  bool Take(char c) {
    if (AtEnd() || text_[position_] != c) return false;
    ++position_;
    SkipSpaces();
    return true;
  }

  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(std::string(text_)), " at byte ", position_ + 1, ": ", what,
        "; write KEY, !KEY, KEY = VALUE, KEY != VALUE, KEY in (VALUE, …) or KEY notin (VALUE, …), "
        "separated by commas"));
  }

  // Plain characters and the spaces after them.
  std::string_view Word() {
    const size_t begin = position_;
    while (!AtEnd() && IsPlainCharacter(text_[position_])) ++position_;
    const std::string_view word = text_.substr(begin, position_ - begin);
    SkipSpaces();
    return word;
  }

  absl::StatusOr<std::string> Key() {
    const size_t begin = position_;
    const std::string_view key = Word();
    if (IsLabelKey(key)) return std::string(key);
    position_ = begin;
    return Error(absl::StrCat("expected a key of 1 to ", kMaxLabelKeyBytes,
                              " of the characters A-Z a-z 0-9 . _ / -"));
  }

  absl::StatusOr<std::string> Value() {
    const size_t begin = position_;
    std::string value;
    if (!AtEnd() && text_[position_] == '"') {
      ASSIGN_OR_RETURN(value, QuotedValue());
    } else {
      value = Word();
      if (value.empty()) return Error("expected a value; the empty value is \"\"");
    }
    if (IsLabelValue(value)) return value;
    position_ = begin;
    return Error(absl::StrCat("the value is longer than ", kMaxLabelValueBytes,
                              " bytes or holds control characters"));
  }

  absl::StatusOr<std::string> QuotedValue() {
    const size_t begin = position_++;
    std::string value;
    while (!AtEnd() && text_[position_] != '"') {
      if (text_[position_] == '\\') {
        ++position_;
        if (AtEnd() || (text_[position_] != '"' && text_[position_] != '\\'))
          return Error("after a backslash only \" and \\ can follow");
      }
      value.push_back(text_[position_++]);
    }
    if (AtEnd()) {
      position_ = begin;
      return Error("the closing quote is missing");
    }
    ++position_;
    SkipSpaces();
    return value;
  }

  absl::StatusOr<std::vector<std::string>> ValueList() {
    if (!Take('(')) return Error("expected a list of values in parentheses");
    std::vector<std::string> values;
    do {
      ASSIGN_OR_RETURN(std::string value, Value());
      values.push_back(std::move(value));
    } while (Take(','));
    if (!Take(')')) return Error("expected a comma or a closing parenthesis");
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }

  absl::StatusOr<LabelRequirement> ParseRequirement() {
    LabelRequirement requirement;
    if (Take('!')) {
      requirement.kind = Kind::kAbsent;
      ASSIGN_OR_RETURN(requirement.key, Key());
      return requirement;
    }
    ASSIGN_OR_RETURN(requirement.key, Key());
    if (AtEnd() || text_[position_] == ',') return requirement;
    if (const std::optional<Kind> comparison = TakeComparison(); comparison.has_value()) {
      requirement.kind = *comparison;
      ASSIGN_OR_RETURN(std::string value, Value());
      requirement.values.push_back(std::move(value));
      return requirement;
    }
    const size_t begin = position_;
    const std::string_view word = Word();
    if (word != "in" && word != "notin") {
      position_ = begin;
      return Error("expected =, !=, in or notin after the key");
    }
    requirement.kind = word == "in" ? Kind::kIn : Kind::kNotIn;
    ASSIGN_OR_RETURN(requirement.values, ValueList());
    return requirement;
  }

  std::optional<Kind> TakeComparison() {
    if (text_.substr(position_, 2) == "!=") {
      ++position_;
      Take('=');
      return Kind::kNotIn;
    }
    return Take('=') ? std::optional(Kind::kIn) : std::nullopt;
  }

  const std::string_view text_;
  size_t position_ = 0;
};

bool Holds(const LabelRequirement& requirement, std::optional<std::string_view> value) {
  const bool exists = value.has_value();
  const bool listed =
      exists && std::binary_search(requirement.values.begin(), requirement.values.end(), *value);
  switch (requirement.kind) {
    case LabelRequirement::Kind::kIn:
      return listed;
    case LabelRequirement::Kind::kNotIn:
      return !listed;
    case LabelRequirement::Kind::kExists:
      return exists;
    case LabelRequirement::Kind::kAbsent:
      return !exists;
  }
  return false;
}

}  // namespace

bool LabelSelector::Matches(const LabelMap& labels) const {
  return MatchesLabels([&](const std::string& key) -> std::optional<std::string_view> {
    const auto it = labels.find(key);
    if (it == labels.end()) return std::nullopt;
    return it->second;
  });
}

bool LabelSelector::MatchesLabels(const ValueOf& value_of) const {
  return std::all_of(requirements.begin(), requirements.end(),
                     [&](const LabelRequirement& requirement) {
                       return Holds(requirement, value_of(requirement.key));
                     });
}

absl::StatusOr<LabelSelector> ParseLabelSelector(std::string_view text) {
  if (text.size() > kMaxSelectorBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", text.size(), " bytes; the limit is ", kMaxSelectorBytes));
  }
  return Parser(text).Parse();
}

bool IsLabelKey(std::string_view key) {
  return !key.empty() && key.size() <= kMaxLabelKeyBytes &&
         std::all_of(key.begin(), key.end(), IsPlainCharacter);
}

bool IsLabelValue(std::string_view value) {
  return value.size() <= kMaxLabelValueBytes && !HasControlCharacter(value);
}

std::string LabelValueText(std::string_view value) {
  if (!value.empty() && std::all_of(value.begin(), value.end(), IsPlainCharacter))
    return std::string(value);
  std::string text = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') text.push_back('\\');
    text.push_back(c);
  }
  return text + "\"";
}

}  // namespace trainerd
