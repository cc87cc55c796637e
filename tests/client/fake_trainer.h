// SPDX-License-Identifier: Apache-2.0
// The jobs of the fake daemon (fake_daemon.h): commands change their state at once, and status
// streams break on purpose.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "proto/contract/job/job_state.h"
#include "tests/client/fake_store.h"
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

}  // namespace trainerd::client
