// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/remote_evaluation_rules.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace trainerd {
namespace {

using Violations = std::vector<ConfigViolation>;

constexpr int kMaxEntries = 32;
constexpr size_t kMaxNameBytes = 40;
constexpr size_t kMaxSuiteBytes = 63;
// Of all entries: one checkpoint can trigger all of them in one transaction.
constexpr size_t kMaxParamsBytes = size_t{128} << 10;

bool IsWord(std::string_view text, size_t max_bytes, std::string_view other_characters) {
  return !text.empty() && text.size() <= max_bytes &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  other_characters.find(c) != other_characters.npos;
         });
}

void CheckTriggers(const v1::RemoteEvaluationConfig& entry, const v1::EvaluationConfig& evaluation,
                   const std::string& path, Violations* violations) {
  const v1::RemoteTriggerConfig& when = entry.when();
  if (when.every_steps() == 0 && !when.on_best() && !when.at_start() && !when.at_end()) {
    violations->push_back({path + ".when",
                           "triggers nothing; set every_steps, on_best, at_start or at_end, or "
                           "remove the entry"});
  }
  const bool local_best =
      evaluation.has_best() && absl::StartsWith(evaluation.best().metric(), "eval.");
  if (when.on_best() && !local_best) {
    violations->push_back({path + ".when.on_best",
                           "needs evaluation.best with an eval.* metric, which decides in the "
                           "worker which checkpoint is the best one; add evaluation.best: {}"});
  }
  if (entry.required() && !when.at_end()) {
    violations->push_back({path + ".required",
                           "needs when.at_end: true, because the job waits for the evaluation of "
                           "its final model"});
  }
}

// Returns the bytes of the params.
size_t CheckParams(const v1::RemoteEvaluationConfig& entry, const std::string& path,
                   Violations* violations) {
  constexpr size_t kMaxTextBytes = 1024;
  if (entry.params_size() > kMaxEvaluationParams) {
    violations->push_back(
        {path + ".params",
         absl::StrCat(entry.params_size(), " params are more than ", kMaxEvaluationParams)});
  }
  size_t bytes = 0, longest = 0;
  for (const auto& [key, value] : entry.params()) {
    bytes += key.size() + value.size();
    longest = std::max({longest, key.size(), value.size()});
  }
  if (longest > kMaxTextBytes) {
    violations->push_back({path + ".params", absl::StrCat("has a key or a value of ", longest,
                                                          " bytes; the limit is ", kMaxTextBytes)});
  }
  return bytes;
}

}  // namespace

bool IsSuiteName(std::string_view text) { return IsWord(text, kMaxSuiteBytes, "._-"); }

void CheckRemoteEvaluations(const v1::JobConfig& config, Violations* violations) {
  const auto& remote = config.evaluation().remote();
  if (remote.size() > kMaxEntries) {
    violations->push_back(
        {"evaluation.remote",
         absl::StrCat("has ", remote.size(), " entries; the limit is ", kMaxEntries)});
  }
  std::set<std::string> names;
  size_t bytes = 0;
  for (int i = 0; i < remote.size(); ++i) {
    const v1::RemoteEvaluationConfig& entry = remote[i];
    const std::string path = absl::StrCat("evaluation.remote[", i, "]");
    if (entry.has_name() && !IsWord(entry.name(), kMaxNameBytes, "_-")) {
      violations->push_back(
          {path + ".name", absl::StrCat(Quoted(entry.name()), " is not 1 to ", kMaxNameBytes,
                                        " of the characters a-z 0-9 _ -")});
    } else if (entry.has_name() && !names.insert(entry.name()).second) {
      violations->push_back(
          {path + ".name", absl::StrCat(Quoted(entry.name()), " is the name of an earlier entry; ",
                                        "give each its own, because it names the results")});
    }
    if (entry.has_suite() && !IsSuiteName(entry.suite())) {
      violations->push_back(
          {path + ".suite", absl::StrCat(Quoted(entry.suite()), " is not 1 to ", kMaxSuiteBytes,
                                         " of the characters a-z 0-9 . _ -")});
    }
    CheckTriggers(entry, config.evaluation(), path, violations);
    bytes += CheckParams(entry, path, violations);
  }
  if (bytes > kMaxParamsBytes) {
    violations->push_back(
        {"evaluation.remote", absl::StrCat("the params of all entries have ", bytes,
                                           " bytes; the limit is ", kMaxParamsBytes)});
  }
}

}  // namespace trainerd
