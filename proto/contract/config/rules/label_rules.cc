// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/label_rules.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/contract/config/config_paths.h"

namespace trainerd {
namespace {

constexpr int kMaxLabels = 64;

std::string LabelPath(const std::string& key) {
  const std::string quoted = Quoted(key);
  return JoinPath("labels", quoted.substr(1, quoted.size() - 2));
}

}  // namespace

void CheckLabels(const LabelMap& all, std::vector<ConfigViolation>* violations) {
  if (all.size() > kMaxLabels) {
    violations->push_back(
        {"labels", absl::StrCat(all.size(), " labels are more than ", kMaxLabels)});
    return;
  }
  // A map has no order: sorted, so that messages do not change from run to run.
  const std::map<std::string, std::string> labels(all.begin(), all.end());
  for (const auto& [key, value] : labels) {
    if (!IsLabelKey(key)) {
      violations->push_back(
          {LabelPath(key), absl::StrCat("the key ", Quoted(key), " is not 1 to ", kMaxLabelKeyBytes,
                                        " of the characters A-Z a-z 0-9 . _ / -")});
    }
    if (!IsLabelValue(value)) {
      violations->push_back(
          {LabelPath(key), absl::StrCat("the value is longer than ", kMaxLabelValueBytes,
                                        " bytes or holds control characters")});
    }
  }
}

}  // namespace trainerd
