// SPDX-License-Identifier: Apache-2.0
// The commands of the API. Each records the desired state in one transaction, which is durable
// before the reply; the reconciler does the rest. No gRPC here.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/contract/job/job_state.h"
#include "server/commands/command.h"
#include "server/commands/submit/inspections.h"
#include "server/commands/submit/path_policy.h"
#include "server/commands/submit/submit.h"
#include "server/ledger/queue_rules.h"
#include "server/outbox/notify_targets.h"
#include "server/runs/device_table.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class JobManager {
 public:
  struct Options {
    std::string runs_dir;
    PathPolicy paths;
    // Whom jobs may have notified.
    NotifyTargets notify;
    Inspections::Options inspections;
    // Null: there are no uploads. Outlives the object.
    FileStore* files = nullptr;
    int64_t max_queued_jobs = 100'000;
    // 0 = no limit.
    int64_t max_queued_jobs_per_owner = 0;
    QueueRules rules = {};
    std::function<absl::Time()> clock = [] { return absl::Now(); };
    // Called with "jobs/{id}" once a command is durable, so that the reconciler acts on it.
    std::function<void(const std::string& job)> poke = [](const std::string&) {};
    // Called once the retention of a job has durably changed.
    std::function<void(const std::string& job_id)> retain = [](const std::string&) {};
    // Called once a job is durably marked as being deleted.
    std::function<void(const std::string& job_id)> remove = [](const std::string&) {};
  };
  JobManager(Options options, Store& store, const DeviceTable& devices);

  // `is_cancelled` (null = never) ends an inspection whose caller no longer waits.
  absl::StatusOr<v1::SubmitJobResponse> Submit(const v1::SubmitJobRequest& request,
                                               const Caller& caller,
                                               const std::function<bool()>& is_cancelled = nullptr);
  absl::StatusOr<v1::Job> Pause(const v1::PauseRequest& request, const Caller& caller);
  absl::StatusOr<v1::Job> Resume(const v1::ResumeRequest& request, const Caller& caller);
  absl::StatusOr<v1::Job> Stop(const v1::StopRequest& request, const Caller& caller);
  absl::StatusOr<v1::Job> Update(const v1::UpdateJobRequest& request, const Caller& caller);
  absl::StatusOr<v1::Job> RequestCheckpoint(const v1::RequestCheckpointRequest& request,
                                            const Caller& caller);
  absl::StatusOr<v1::Job> Delete(const v1::DeleteJobRequest& request, const Caller& caller);
  absl::StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Explanation> Explain(const v1::ExplainJobRequest& request);
  // Ends all inspections, now and from now on.
  void Drain() { inspections_.Drain(); }

 private:
  absl::StatusOr<v1::SubmitJobResponse> Validate(const v1::SubmitJobRequest& request,
                                                 const Caller& caller,
                                                 const std::function<bool()>& is_cancelled);
  absl::StatusOr<PreparedJob> Prepare(const v1::SubmitJobRequest& request, const Caller& caller);
  absl::StatusOr<v1::Job> InsertJob(Transaction& t, const PreparedJob& prepared);
  absl::Status CheckQueueLength(Connection& db);
  absl::Status CheckOwnersQuota(Connection& db, const std::string& owner);
  struct CommandExtras {
    // As in PauseRequest.
    std::optional<absl::Duration> grace = std::nullopt;
    // Changes the record first; null = nothing.
    JobChange before = nullptr;
  };
  // Applies a command of the state table to the job `name`.
  absl::StatusOr<v1::Job> Apply(JobCommand command, CommandCall call, const std::string& name,
                                const std::string& etag, const CommandExtras& extras);

  const Options options_;
  Store& store_;
  const DeviceTable& devices_;
  Inspections inspections_;
  // Upper bound of the number of queued jobs. Writer thread only.
  int64_t queued_at_most_;
  // The same for each owner.
  std::map<std::string, int64_t> queued_at_most_of_;
};

}  // namespace trainerd::server
