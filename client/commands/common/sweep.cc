// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/sweep.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/view/text_width.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

constexpr size_t kMaxJobs = 1000;
constexpr size_t kMaxNameBytes = 200;
constexpr int kMaxValueColumns = 24;

struct Axis {
  std::string key;
  std::vector<std::string> values;
};

absl::Status Malformed(const std::string& text, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("--sweep ", text, " ", what,
                   "; write KEY=VALUE,VALUE,… for example optimizer.learning_rate=1e-5,2e-5"));
}

// Splits at commas outside of brackets, braces and quotes. Empty: these do not match.
std::vector<std::string> SplitValues(std::string_view text) {
  std::vector<std::string> values(1);
  std::string open;
  char quote = 0;
  for (char c : text) {
    const bool separates = c == ',' && open.empty() && quote == 0;
    if (separates) {
      values.emplace_back();
      continue;
    }
    values.back().push_back(c);
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      open.push_back(c == '[' ? ']' : '}');
    } else if (c == ']' || c == '}') {
      if (open.empty() || open.back() != c) return {};
      open.pop_back();
    }
  }
  if (!open.empty() || quote != 0) return {};
  for (std::string& value : values) value = std::string(absl::StripAsciiWhitespace(value));
  return values;
}

absl::StatusOr<Axis> ParseAxis(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return Malformed(text, "is not KEY=VALUE,VALUE");
  Axis axis{.key = std::string(absl::StripAsciiWhitespace(text.substr(0, equals))),
            .values = SplitValues(std::string_view(text).substr(equals + 1))};
  if (axis.values.empty()) return Malformed(text, "has brackets or quotes that do not match");
  for (size_t i = 0; i < axis.values.size(); ++i) {
    if (axis.values[i].empty()) return Malformed(text, "has an empty value");
    if (std::find(axis.values.begin(), axis.values.begin() + i, axis.values[i]) !=
        axis.values.begin() + i)
      return Malformed(text, absl::StrCat("has the value ", axis.values[i], " twice"));
  }
  return axis;
}

// The last part of the key and the value, as short as a name needs them.
std::string Suffix(const Axis& axis, const std::string& value) {
  const size_t dot = axis.key.rfind('.');
  const std::string key = dot == std::string::npos ? axis.key : axis.key.substr(dot + 1);
  return absl::StrCat(key, "=", FitWidth(PlainText(value), kMaxValueColumns));
}

}  // namespace

absl::StatusOr<std::vector<SweepPoint>> ExpandSweep(const std::vector<std::string>& texts) {
  std::vector<Axis> axes;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(Axis axis, ParseAxis(text));
    for (const Axis& other : axes) {
      if (other.key == axis.key) return Malformed(text, "sweeps a key that another --sweep has");
    }
    axes.push_back(std::move(axis));
  }
  std::vector<SweepPoint> points(1);
  for (const Axis& axis : axes) {
    if (points.size() * axis.values.size() > kMaxJobs) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the sweep has more than ", kMaxJobs, " jobs; give fewer values, or several sweeps"));
    }
    std::vector<SweepPoint> next;
    for (const SweepPoint& point : points) {
      for (const std::string& value : axis.values) {
        next.push_back(point);
        next.back().sets.push_back(absl::StrCat(axis.key, "=", value));
        absl::StrAppend(&next.back().suffix, next.back().suffix.empty() ? "" : "-",
                        Suffix(axis, value));
      }
    }
    points = std::move(next);
  }
  return points;
}

std::string SweepName(std::string_view name, const SweepPoint& point, size_t number) {
  const absl::string_view base(name.data(), name.size());
  std::string long_name = absl::StrCat(base, "-", point.suffix);
  if (long_name.size() <= kMaxNameBytes) return long_name;
  const std::string tail = absl::StrCat("-", number);
  size_t size = std::min(name.size(), kMaxNameBytes - tail.size());
  // Not inside a character.
  while (size > 0 && size < name.size() && (static_cast<unsigned char>(name[size]) & 0xc0) == 0x80)
    --size;
  return absl::StrCat(base.substr(0, size), tail);
}

}  // namespace trainerd::client
