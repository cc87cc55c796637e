// SPDX-License-Identifier: Apache-2.0
// The state of the fake daemon (fake_daemon.h), and the errors that it injects.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "proto/contract/job/revision.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

inline grpc::Status Refuse(grpc::StatusCode code, const std::string& message,
                           const google::protobuf::Message& detail) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(detail);
  return grpc::Status(code, message, details.SerializeAsString());
}

inline grpc::Status Refuse(grpc::StatusCode code, const std::string& message,
                           const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_domain("trainerd");
  info.set_reason(reason);
  return Refuse(code, message, info);
}

// What the daemon holds: survives the restarts of its server, as a database would.
struct FakeStore {
  std::mutex mutex;
  std::vector<v1::Job> jobs;      // newest first
  std::vector<v1::Event> events;  // seq = index + 1
  std::string log;
  std::vector<v1::Checkpoint> checkpoints;
  std::vector<v1::Notification> notifications;
  std::vector<v1::RetryNotificationRequest> notification_retries;
  std::vector<v1::DrainRequest> drains;
  bool draining = false;
  // What each GetServerInfo reports in turn, then 0.
  std::vector<int> active_attempts;
  // Called by each GetServerInfo, before it answers.
  std::function<void(FakeStore&)> on_info = [](FakeStore&) {};
  std::vector<v1::SubmitJobRequest> submits;
  std::vector<v1::StreamStatusRequest> streams;
  std::vector<v1::StreamLogsRequest> log_reads;
  std::vector<v1::PauseRequest> pauses;
  std::vector<v1::StopRequest> stops;
  std::vector<v1::QueryUsageRequest> usage_requests;
  v1::QueryUsageResponse usage;
  std::vector<v1::UpdateJobRequest> updates;
  std::vector<v1::ListJobsRequest> lists;
  std::vector<v1::ListEventsRequest> event_lists;
  std::vector<v1::QueryMetricsRequest> metric_queries;
  // By name of the job.
  std::map<std::string, std::vector<v1::MetricSeries>> metrics;
  int64_t bucket_steps = 1;
  std::vector<v1::ResumeRequest> resumes;
  std::vector<v1::RequestCheckpointRequest> checkpoint_requests;
  std::vector<v1::UpdateCheckpointRequest> checkpoint_updates;
  std::vector<v1::VerifyCheckpointRequest> verifications;
  std::vector<v1::CollectGarbageRequest> collections;
  std::string authorization;
  // If not empty, any other authorization is refused.
  std::string accepted_authorization;
  int api_revision = kApiRevision;

  // The n-th StreamStatus call (from 0) breaks after so many of its events; absent: it does not
  // break.
  std::map<size_t, int> break_stream_after;
  // So many StreamStatus calls are refused, as by max_watchers.
  int refused_streams = 0;
  // Called after each event that was sent.
  std::function<void(const v1::Event&)> after_event = [](const v1::Event&) {};
  std::function<grpc::Status(const v1::SubmitJobRequest&, v1::SubmitJobResponse*)> on_submit;
  int expired_below = 0;       // cursors before this are answered with OUT_OF_RANGE
  size_t break_log_after = 0;  // > 0: the first StreamLogs call breaks after so many bytes
  // Answers StreamLogs in place of `log`; called without the mutex.
  std::function<grpc::Status(const v1::StreamLogsRequest&, v1::LogChunk*)> on_logs;

  v1::Job* Find(const std::string& name) {
    for (v1::Job& job : jobs) {
      if (job.name() == name) return &job;
    }
    return nullptr;
  }
  v1::Job& AddJob(const std::string& id, const std::string& display_name, v1::Job::State state) {
    v1::Job job;
    job.set_name("jobs/" + id);
    job.set_state(state);
    job.set_desired_state(v1::Job::DESIRED_RUN);
    job.mutable_config()->set_name(display_name);
    job.set_run_dir("/state/runs/" + id);
    jobs.insert(jobs.begin(), job);
    return jobs.front();
  }
  v1::Event& AddEvent(const std::string& job) {
    v1::Event event;
    event.set_seq(static_cast<int64_t>(events.size()) + 1);
    event.set_job(job);
    event.set_attempt(1);
    events.push_back(event);
    return events.back();
  }
  void AddStep(const std::string& job, int64_t step, double loss) {
    v1::Metrics& metrics = *AddEvent(job).mutable_metrics();
    metrics.set_step(step);
    metrics.set_loss(loss);
    metrics.set_tokens(100);
    metrics.set_total_steps(100);
  }
  void AddStateChange(const std::string& job, v1::Job::State from, v1::Job::State to) {
    v1::StateChanged& change = *AddEvent(job).mutable_state_changed();
    change.set_from_state(from);
    change.set_to_state(to);
    change.set_desired_state(v1::Job::DESIRED_RUN);
  }
};

}  // namespace trainerd::client
