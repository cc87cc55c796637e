// SPDX-License-Identifier: Apache-2.0
// The commands of the API. Each records what is wanted in one transaction, durable before its
// answer, and leaves the rest to the reconciler. No gRPC here.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/contract/job/job_state.h"
#include "server/runs/device_table.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class JobManager {
 public:
  struct Options {
    std::string runs_dir;
    std::string inspect_path;
    absl::Duration validate_timeout = absl::Seconds(30);
    int64_t max_queued_jobs = 100'000;
    std::function<absl::Time()> clock = [] { return absl::Now(); };
    // Called after a command is durable: the reconciler has something to do for this job.
    std::function<void(const std::string& job)> poke = [](const std::string&) {};
    std::function<void(const std::string& job_id)> remove = [](const std::string&) {};
  };
  JobManager(Options options, Store& store, const DeviceTable& devices);

  // `peer` is who calls, for the audit.
  absl::StatusOr<v1::SubmitJobResponse> Submit(const v1::SubmitJobRequest& request,
                                               const std::string& peer);
  absl::StatusOr<v1::Job> Pause(const v1::PauseRequest& request, const std::string& peer);
  absl::StatusOr<v1::Job> Resume(const v1::ResumeRequest& request, const std::string& peer);
  absl::StatusOr<v1::Job> Stop(const v1::StopRequest& request, const std::string& peer);
  absl::StatusOr<v1::Job> Delete(const v1::DeleteJobRequest& request, const std::string& peer);

 private:
  struct Call {
    std::string method, request_id, body_hash, etag, reason, peer;
  };
  absl::StatusOr<v1::SubmitJobResponse> Validate(const v1::SubmitJobRequest& request);
  absl::Status CheckQueueLength(Connection& db);
  absl::StatusOr<v1::Job> Command(const std::string& name, JobCommand command, const Call& call);

  const Options options_;
  Store& store_;
  const DeviceTable& devices_;
  // Jobs that may wait, counting every submission as one; used on the writer's thread only.
  int64_t queued_at_most_;
};

}  // namespace trainerd::server
