// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/best_rules.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace trainerd {
namespace {

constexpr char kMetric[] = "evaluation.best.metric";
constexpr char kValidationLoss[] = "eval.validation.loss";

// remote.ENTRY.METRIC of an entry of evaluation.remote.
bool IsRemoteMetric(absl::string_view metric, const v1::EvaluationConfig& evaluation) {
  if (!absl::ConsumePrefix(&metric, "remote.")) return false;
  return std::any_of(evaluation.remote().begin(), evaluation.remote().end(), [&](const auto& e) {
    absl::string_view rest = metric;
    return absl::ConsumePrefix(&rest, absl::StrCat(e.name(), ".")) && !rest.empty();
  });
}

}  // namespace

void ResolveBest(v1::JobConfig* config) {
  if (!config->evaluation().has_best() || config->evaluation().best().has_mode()) return;
  v1::BestConfig& best = *config->mutable_evaluation()->mutable_best();
  best.set_mode(absl::EndsWith(best.metric(), ".loss") ? v1::BestConfig::MODE_MIN
                                                       : v1::BestConfig::MODE_MAX);
}

void CheckBest(const v1::JobConfig& config, std::vector<ConfigViolation>* violations) {
  constexpr int kDefaultKeepBest = 1;
  const v1::EvaluationConfig& evaluation = config.evaluation();
  if (!evaluation.has_best()) {
    if (config.checkpoint().keep_best() == kDefaultKeepBest) return;
    violations->push_back({"checkpoint.keep_best",
                           "applies only to a job with evaluation.best, which says what best "
                           "means; add evaluation.best: {}, or remove it"});
    return;
  }
  const std::string& metric = evaluation.best().metric();
  if (metric == kValidationLoss) {
    if (config.data().has_validation() || config.data().validation_fraction() > 0) return;
    violations->push_back({kMetric, absl::StrCat(kValidationLoss,
                                                 " needs validation data; give data.validation or "
                                                 "data.validation_fraction, or another metric")});
  } else if (!IsRemoteMetric(metric, evaluation)) {
    violations->push_back(
        {kMetric, absl::StrCat(Quoted(metric), " is no metric of this job; write ", kValidationLoss,
                               ", or remote.NAME.METRIC with the name of an entry of "
                               "evaluation.remote")});
  }
}

}  // namespace trainerd
