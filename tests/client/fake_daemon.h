// SPDX-License-Identifier: Apache-2.0
// A daemon in the test's own process: the four services over a unix socket in a temporary folder,
// with an event log in memory and connections that break on purpose. Also runs trainctl in-process
// and collects what it prints.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "client/command_line.h"
#include "client/view/environment.h"
#include "proto/contract/job/job_state.h"
#include "tests/client/fake_store.h"
#include "tests/temp_dir.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

class FakeTrainer final : public v1::Trainer::Service {
 public:
  explicit FakeTrainer(FakeStore* store) : store_(store) {}

  grpc::Status SubmitJob(grpc::ServerContext*, const v1::SubmitJobRequest* request,
                         v1::SubmitJobResponse* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->submits.push_back(*request);
    }
    if (store_->on_submit) return store_->on_submit(*request, response);
    if (!request->validate_only()) {
      const std::lock_guard lock(store_->mutex);
      *response->mutable_job() =
          store_->AddJob("aaaaaaaaaaaa", request->config().name(), v1::Job::QUEUED);
    }
    return grpc::Status::OK;
  }
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest* request,
                     v1::Job* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->pauses.push_back(*request);
    }
    return Set(request->name(), v1::Job::PAUSING, v1::Job::DESIRED_PAUSE, response);
  }
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest* request,
                      v1::Job* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->resumes.push_back(*request);
    }
    return Set(request->name(), v1::Job::QUEUED, v1::Job::DESIRED_RUN, response);
  }
  grpc::Status RequestCheckpoint(grpc::ServerContext*, const v1::RequestCheckpointRequest* request,
                                 v1::Job* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->checkpoint_requests.push_back(*request);
    response->set_name(request->name());
    response->set_state(v1::Job::RUNNING);
    response->set_checkpoint_pending(true);
    return grpc::Status::OK;
  }
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest* request,
                    v1::Job* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->stops.push_back(*request);
    }
    return Set(request->name(), v1::Job::STOPPING, v1::Job::DESIRED_STOP, response);
  }
  grpc::Status UpdateJob(grpc::ServerContext*, const v1::UpdateJobRequest* request,
                         v1::Job* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->updates.push_back(*request);
    const v1::Job* job = store_->Find(request->job().name());
    if (job == nullptr)
      return Refuse(grpc::NOT_FOUND, "there is no " + request->job().name(), "NO_SUCH_JOB");
    *response = *job;
    return grpc::Status::OK;
  }
  grpc::Status ExplainJob(grpc::ServerContext*, const v1::ExplainJobRequest* request,
                          v1::Explanation* response) override {
    response->set_summary("is held until it is resumed");
    response->add_reasons()->set_code("HELD");
    response->mutable_reasons(0)->set_message("it was paused");
    response->set_queue_position(3);
    response->add_actions()->set_command("trainctl resume " + request->name());
    response->mutable_actions(0)->set_message("lets it start");
    return grpc::Status::OK;
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    const std::lock_guard lock(store_->mutex);
    const v1::Job* job = store_->Find(request->name());
    if (job == nullptr)
      return Refuse(grpc::NOT_FOUND, "there is no " + request->name(), "NO_SUCH_JOB");
    *response = *job;
    return grpc::Status::OK;
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->lists.push_back(*request);
    size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    // Pages of two, whatever the request: a client must follow the tokens.
    const int limit = std::min(2, request->page_size());
    for (; response->jobs_size() < limit && at < store_->jobs.size(); ++at) {
      if (store_->jobs[at].base().starts_with(request->base()))
        *response->add_jobs() = store_->jobs[at];
    }
    if (at < store_->jobs.size()) response->set_next_page_token(std::to_string(at));
    return grpc::Status::OK;
  }
  grpc::Status DeleteJob(grpc::ServerContext*, const v1::DeleteJobRequest* request,
                         v1::Job* response) override {
    const std::lock_guard lock(store_->mutex);
    const v1::Job* job = store_->Find(request->name());
    if (job != nullptr && !IsTerminal(job->state()))
      return Refuse(grpc::FAILED_PRECONDITION, request->name() + " has not ended: stop it first",
                    "JOB_ACTIVE");
    if (job != nullptr) *response = *job;
    return grpc::Status::OK;
  }
  grpc::Status StreamStatus(grpc::ServerContext* context, const v1::StreamStatusRequest* request,
                            grpc::ServerWriter<v1::StreamStatusResponse>* writer) override {
    int break_after = -1;
    size_t at = 0;
    {
      const std::lock_guard lock(store_->mutex);
      if (const auto found = store_->break_stream_after.find(store_->streams.size());
          found != store_->break_stream_after.end())
        break_after = found->second;
      store_->streams.push_back(*request);
      if (store_->refused_streams-- > 0)
        return Refuse(grpc::RESOURCE_EXHAUSTED, "60 streams are open", "WATCHERS");
      if (request->after() != "begin" && !request->after().empty())
        at = std::stoul(request->after().substr(1));
      if (static_cast<int>(at) < store_->expired_below && !request->after().empty() &&
          request->after() != "begin") {
        return Refuse(grpc::OUT_OF_RANGE, "the cursor is older than the oldest event kept",
                      "CURSOR_EXPIRED");
      }
      if (request->send_snapshot()) {
        v1::StreamStatusResponse response;
        for (const v1::Job& job : store_->jobs) {
          if (job.name() == request->parent() || request->parent() == "jobs/-")
            *response.add_snapshot() = job;
        }
        at = store_->events.size();
        response.set_snapshot_complete(true);
        response.set_cursor("c" + std::to_string(at));
        writer->Write(response);
      }
    }
    int sent = 0;
    while (!context->IsCancelled()) {
      v1::StreamStatusResponse response;
      bool over = false;
      {
        const std::lock_guard lock(store_->mutex);
        if (at < store_->events.size()) {
          *response.add_events() = store_->events[at++];
          response.set_cursor("c" + std::to_string(at));
          response.set_lag_events(static_cast<int64_t>(store_->events.size() - at));
        } else {
          const v1::Job* job = store_->Find(request->parent());
          over = request->until_terminal() && job != nullptr && IsTerminal(job->state());
        }
      }
      if (sent == break_after) return grpc::Status(grpc::UNAVAILABLE, "Socket closed");
      if (over) return grpc::Status::OK;
      if (response.events().empty()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      if (!writer->Write(response)) break;
      ++sent;
      store_->after_event(response.events(0));
    }
    return grpc::Status::CANCELLED;
  }

 private:
  grpc::Status Set(const std::string& name, v1::Job::State state, v1::Job::DesiredState desired,
                   v1::Job* response) {
    const std::lock_guard lock(store_->mutex);
    v1::Job* job = store_->Find(name);
    if (job == nullptr) return Refuse(grpc::NOT_FOUND, "there is no " + name, "NO_SUCH_JOB");
    if (IsTerminal(job->state()))
      return Refuse(
          grpc::FAILED_PRECONDITION,
          "refused while the job is " + std::string(StateName(job->state())) + ": submit --from it",
          "JOB_TERMINAL");
    job->set_state(state);
    job->set_desired_state(desired);
    *response = *job;
    return grpc::Status::OK;
  }
  FakeStore* const store_;
};

class FakeRuns final : public v1::Runs::Service {
 public:
  explicit FakeRuns(FakeStore* store) : store_(store) {}
  grpc::Status StreamLogs(grpc::ServerContext*, const v1::StreamLogsRequest* request,
                          grpc::ServerWriter<v1::LogChunk>* writer) override {
    std::unique_lock lock(store_->mutex);
    const bool first = store_->log_reads.empty();
    store_->log_reads.push_back(*request);
    if (store_->on_logs) {
      lock.unlock();
      v1::LogChunk chunk;
      chunk.set_attempt(request->attempt());
      const grpc::Status status = store_->on_logs(*request, &chunk);
      if (status.ok()) writer->Write(chunk);
      return status;
    }
    size_t at = static_cast<size_t>(request->after_offset());
    size_t end = store_->log.size();
    const bool breaks = first && store_->break_log_after > 0;
    if (breaks) end = store_->break_log_after;
    v1::LogChunk chunk;
    chunk.set_attempt(request->attempt() > 0 ? request->attempt() : 2);
    chunk.set_offset(static_cast<int64_t>(at));
    chunk.set_data(store_->log.substr(at, end - at));
    chunk.set_next_offset(static_cast<int64_t>(end));
    writer->Write(chunk);
    return breaks ? grpc::Status(grpc::UNAVAILABLE, "Socket closed") : grpc::Status::OK;
  }
  grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->event_lists.push_back(*request);
    size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (int i = 0; i < std::min(2, request->page_size()) && at < store_->events.size(); ++i)
      *response->add_events() = store_->events[at++];
    if (at < store_->events.size()) response->set_next_page_token(std::to_string(at));
    response->set_cursor("c" + std::to_string(at));
    return grpc::Status::OK;
  }
  grpc::Status QueryMetrics(grpc::ServerContext*, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->metric_queries.push_back(*request);
    response->set_bucket_steps(store_->bucket_steps);
    for (const v1::MetricSeries& series : store_->metrics[request->name()]) {
      const auto& names = request->metrics();
      if (names.empty() || std::find(names.begin(), names.end(), series.metric()) != names.end())
        *response->add_series() = series;
    }
    return grpc::Status::OK;
  }
  grpc::Status ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override {
    v1::Attempt& attempt = *response->add_attempts();
    attempt.set_job(request->parent());
    attempt.set_number(1);
    attempt.add_devices("cpu");
    attempt.set_end(v1::Attempt::CRASHED);
    attempt.set_first_step(1);
    attempt.set_last_step(17);
    return grpc::Status::OK;
  }

 private:
  FakeStore* const store_;
};

class FakeCheckpoints final : public v1::Checkpoints::Service {
 public:
  explicit FakeCheckpoints(FakeStore* store) : store_(store) {}
  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    for (const v1::Checkpoint& checkpoint : store_->checkpoints) {
      if (!checkpoint.deleted() || request->show_deleted())
        *response->add_checkpoints() = checkpoint;
    }
    return grpc::Status::OK;
  }
  grpc::Status UpdateCheckpoint(grpc::ServerContext*, const v1::UpdateCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->checkpoint_updates.push_back(*request);
    *response = request->checkpoint();
    response->set_verified(true);
    response->set_has_optimizer(true);
    return grpc::Status::OK;
  }
  grpc::Status VerifyCheckpoint(grpc::ServerContext*, const v1::VerifyCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->verifications.push_back(*request);
    if (request->name().find("bad") != std::string::npos)
      return Refuse(grpc::DATA_LOSS, request->name() + " is damaged", "CHECKPOINT_DAMAGED");
    response->set_name(request->name());
    response->set_verified(true);
    return grpc::Status::OK;
  }
  grpc::Status CollectGarbage(grpc::ServerContext*, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->collections.push_back(*request);
    auto& removed = *response->add_removed();
    removed.set_name("jobs/a/checkpoints/old");
    removed.set_bytes(2048);
    removed.set_reason("EXPIRED");
    auto& kept = *response->add_kept();
    kept.set_name("jobs/a/checkpoints/new");
    kept.set_bytes(1024);
    kept.set_reason("NEWEST");
    response->set_removed_bytes(2048);
    response->set_kept_bytes(1024);
    return grpc::Status::OK;
  }

 private:
  FakeStore* const store_;
};

class FakeAdmin final : public v1::Admin::Service {
 public:
  explicit FakeAdmin(FakeStore* store) : store_(store) {}
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* response) override {
    const std::lock_guard lock(store_->mutex);
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end())
      store_->authorization.assign(found->second.data(), found->second.size());
    if (!store_->accepted_authorization.empty() &&
        store_->authorization != store_->accepted_authorization)
      return grpc::Status(grpc::UNAUTHENTICATED, "this address requires a token");
    store_->on_info(*store_);
    response->set_draining(store_->draining);
    if (!store_->active_attempts.empty()) {
      response->set_active_attempts(store_->active_attempts.front());
      store_->active_attempts.erase(store_->active_attempts.begin());
    }
    response->set_version("0.0.7");
    response->set_api_revision(store_->api_revision);
    response->set_pid(42);
    v1::Device& device = *response->add_devices();
    device.set_name("cpu");
    device.set_model("test");
    return grpc::Status::OK;
  }
  grpc::Status ListNotifications(grpc::ServerContext*, const v1::ListNotificationsRequest* request,
                                 v1::ListNotificationsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    for (const v1::Notification& notification : store_->notifications) {
      const auto& states = request->states();
      if (states.empty() ||
          std::find(states.begin(), states.end(), notification.state()) != states.end())
        *response->add_notifications() = notification;
    }
    return grpc::Status::OK;
  }
  grpc::Status RetryNotification(grpc::ServerContext*, const v1::RetryNotificationRequest* request,
                                 v1::Notification* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->notification_retries.push_back(*request);
    for (const v1::Notification& notification : store_->notifications) {
      if (notification.name() != request->name()) continue;
      if (notification.state() != v1::Notification::DEAD)
        return {grpc::FAILED_PRECONDITION, "only a DEAD one can be delivered again"};
      *response = notification;
      response->set_state(v1::Notification::PENDING);
      return grpc::Status::OK;
    }
    return {grpc::NOT_FOUND, "there is no such notification"};
  }
  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                     v1::ServerInfo* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->drains.push_back(*request);
      store_->draining = true;
    }
    return GetServerInfo(context, nullptr, response);
  }
  grpc::Status Undrain(grpc::ServerContext* context, const v1::UndrainRequest*,
                       v1::ServerInfo* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->draining = false;
    }
    return GetServerInfo(context, nullptr, response);
  }
  grpc::Status QueryUsage(grpc::ServerContext*, const v1::QueryUsageRequest* request,
                          v1::QueryUsageResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->usage_requests.push_back(*request);
    if (request->group_by() == "job")
      return Refuse(grpc::INVALID_ARGUMENT, "group_by: \"job\" is not owner, day or label:KEY", "");
    *response = store_->usage;
    return grpc::Status::OK;
  }

 private:
  FakeStore* const store_;
};

class FakeDaemon {
 public:
  explicit FakeDaemon(FakeStore* store, const std::string& address, bool with_admin = true)
      : trainer_(store), runs_(store), checkpoints_(store), admin_(store) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&trainer_);
    builder.RegisterService(&runs_);
    builder.RegisterService(&checkpoints_);
    if (with_admin) builder.RegisterService(&admin_);
    server_ = builder.BuildAndStart();
  }
  ~FakeDaemon() { server_->Shutdown(std::chrono::system_clock::now()); }
  int port() const { return port_; }
  // For the health service.
  void StopServing() const { server_->GetHealthCheckService()->SetServingStatus(false); }

 private:
  FakeTrainer trainer_;
  FakeRuns runs_;
  FakeCheckpoints checkpoints_;
  FakeAdmin admin_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

struct RunResult {
  int code = -1;
  std::string out;
  std::string err;
};

// Runs trainctl with `folder` as working and default state directory.
inline RunResult Trainctl(
    const std::string& folder, const std::vector<std::string>& arguments,
    const std::function<void(Environment*)>& change = [](Environment*) {}) {
  std::ostringstream out;
  std::ostringstream err;
  Environment env;
  env.out = &out;
  env.err = &err;
  env.state_dir = folder;
  env.working_dir = folder;
  env.inspect_path = folder + "/trainerd-inspect";
  change(&env);
  RunResult result;
  result.code = RunTrainctl(arguments, env);
  result.out = out.str();
  result.err = err.str();
  return result;
}

inline std::string SocketOf(const std::string& folder) {
  return "unix:" + folder + "/trainerd.sock";
}

}  // namespace trainerd::client
