// SPDX-License-Identifier: Apache-2.0
// Labels of jobs: an index of what they are now, and what they were at earlier positions of the
// event log.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/config/label_selector.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// Adds the labels of a new job to the index. Runs no statement if there are none.
absl::Status StoreLabels(Connection& db, int64_t number, const LabelMap& labels);

// The labels of the job now; none if it does not exist.
absl::StatusOr<LabelMap> LoadLabels(Connection& db, std::string_view job_id);

// The event `seq` changes the labels of the job, which were `before`.
absl::Status ChangeLabels(Connection& db, std::string_view job_id, int64_t seq,
                          const LabelMap& before, const LabelMap& after);

// Before DeleteJobRows, whose event will have the number `seq`: a later job can have the same id.
absl::Status CloseLabels(Connection& db, std::string_view job_id, int64_t seq);

struct LabelHistory {
  LabelMap current;
  // By the number of the event that changed them: the labels before it.
  std::map<int64_t, LabelMap> before;

  // Those in force after the event `seq`.
  const LabelMap& At(int64_t seq) const;
};
absl::StatusOr<LabelHistory> ReadLabelHistory(Connection& db, std::string_view job_id);

}  // namespace trainerd::server
