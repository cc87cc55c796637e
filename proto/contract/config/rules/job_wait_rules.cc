// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/job_wait_rules.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace trainerd {
namespace {

// A start so far away is a mistake. The end is the first moment that is refused.
const absl::CivilYear kFirstYear(1970), kEndYear(2200);

int64_t SecondsOf(absl::CivilYear year) {
  return absl::ToUnixSeconds(absl::FromCivil(year, absl::UTCTimeZone()));
}

}  // namespace

void CheckWaits(const v1::JobConfig& config, std::vector<ConfigViolation>* violations) {
  constexpr int kMaxDependencies = 100;
  if (config.depends_on_size() > kMaxDependencies) {
    violations->push_back(
        {"depends_on", absl::StrCat("has ", config.depends_on_size(), " entries; the limit is ",
                                    kMaxDependencies)});
  }
  if (!config.has_not_before()) return;
  constexpr int32_t kNanosPerSecond = 1'000'000'000;
  const int64_t seconds = config.not_before().seconds();
  const int32_t nanos = config.not_before().nanos();
  if (nanos < 0 || nanos >= kNanosPerSecond) {
    violations->push_back(
        {"not_before", absl::StrCat(nanos, " nanoseconds are not a part of a second; send 0 to ",
                                    kNanosPerSecond - 1)});
  } else if (seconds < SecondsOf(kFirstYear) || seconds >= SecondsOf(kEndYear)) {
    violations->push_back(
        {"not_before",
         absl::StrCat("the year is not ", kFirstYear.year(), " to ", kEndYear.year() - 1,
                      "; leave the key out to start at once, or give suspended: true to start when "
                      "`trainctl resume` says so")});
  }
}

}  // namespace trainerd
