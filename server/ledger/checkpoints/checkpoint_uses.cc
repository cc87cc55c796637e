// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/checkpoint_uses.h"

#include <vector>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/store/rows/dependency_rows.h"
#include "server/store/rows/evaluation_rows.h"

namespace trainerd::server {
namespace {

constexpr int kMaxDependents = 10'000;

}  // namespace

absl::Status AddCheckpointUses(Connection& db, const JobRecord& record,
                               std::set<std::string>* names) {
  const std::string id = JobId(record.job.name());
  names->insert(record.ledger.resume_name());
  names->insert(record.ledger.resume_from());
  ASSIGN_OR_RETURN(std::vector<std::string> others, JobsBasedOn(db, id));
  for (const std::string& other : others) {
    ASSIGN_OR_RETURN(const JobRecord user, LoadJob(db, other));
    names->insert(user.ledger.init_name());
  }
  // They have no base before they start.
  ASSIGN_OR_RETURN(others, ListDependents(db, id, /*for_checkpoint=*/false, kMaxDependents));
  for (const std::string& other : others) {
    ASSIGN_OR_RETURN(const JobRecord user, LoadJob(db, other));
    names->insert(user.job.config().init_from().checkpoint());
  }
  ASSIGN_OR_RETURN(std::set<std::string> evaluated, CheckpointsInEvaluation(db, id));
  names->merge(evaluated);
  names->erase("");
  return absl::OkStatus();
}

}  // namespace trainerd::server
