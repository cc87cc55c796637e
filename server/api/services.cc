// SPDX-License-Identifier: Apache-2.0
#include "server/api/services.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "proto/base/time.h"
#include "proto/contract/job/revision.h"
#include "server/api/status.h"
#include "server/commands/queries.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

template <typename Message>
grpc::Status Reply(absl::StatusOr<Message> result, Message* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

// Unary calls run on gRPC's threads and may wait for a commit. StreamStatus and WaitJob are
// callbacks and use no thread.
class TrainerService final : public v1::Trainer::WithRawCallbackMethod_StreamStatus<
                                 v1::Trainer::WithCallbackMethod_WaitJob<v1::Trainer::Service>> {
 public:
  TrainerService(JobManager& jobs, WatchParts watch) : jobs_(jobs), watch_(watch) {}

  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request,
                         v1::SubmitJobResponse* response) override {
    // validate_only can take long; its caller may no longer wait.
    return Reply(jobs_.Submit(*request, context->peer(), [&] { return context->IsCancelled(); }),
                 response);
  }
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::Job* response) override {
    return Reply(jobs_.Pause(*request, context->peer()), response);
  }
  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::Job* response) override {
    return Reply(jobs_.Resume(*request, context->peer()), response);
  }
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::Job* response) override {
    return Reply(jobs_.Stop(*request, context->peer()), response);
  }
  grpc::Status UpdateJob(grpc::ServerContext* context, const v1::UpdateJobRequest* request,
                         v1::Job* response) override {
    return Reply(jobs_.Update(*request, context->peer()), response);
  }
  grpc::Status ExplainJob(grpc::ServerContext*, const v1::ExplainJobRequest* request,
                          v1::Explanation* response) override {
    return Reply(jobs_.Explain(*request), response);
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         v1::Job* response) override {
    return Reply(jobs_.Delete(*request, context->peer()), response);
  }
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    return Reply(server::GetJob(watch_.store, request->name()), response);
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    return Reply(server::ListJobs(watch_.store, *request), response);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamStatus(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override {
    return StartStreamStatus(watch_, context, *request);
  }
  grpc::ServerUnaryReactor* WaitJob(grpc::CallbackServerContext* context,
                                    const v1::WaitJobRequest* request, v1::Job* response) override {
    return StartWaitJob(watch_, context, *request, response);
  }

 private:
  JobManager& jobs_;
  WatchParts watch_;
};

class RunsService final : public v1::Runs::WithCallbackMethod_StreamLogs<v1::Runs::Service> {
 public:
  RunsService(Store& store, LogPoller& poller, StreamLimit& limit)
      : store_(store), poller_(poller), limit_(limit) {}

  grpc::ServerWriteReactor<v1::LogChunk>* StreamLogs(
      grpc::CallbackServerContext* context, const v1::StreamLogsRequest* request) override {
    return StartStreamLogs(store_, poller_, limit_, *request);
  }
  grpc::Status ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override {
    return Reply(server::ListAttempts(store_, *request), response);
  }

 private:
  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
};

class CheckpointsService final : public v1::Checkpoints::Service {
 public:
  explicit CheckpointsService(Store& store) : store_(store) {}

  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    return Reply(server::ListCheckpoints(store_, *request), response);
  }

 private:
  Store& store_;
};

class AdminService final : public v1::Admin::Service {
 public:
  AdminService(Services::Info info, Store& store, const DeviceTable& devices)
      : info_(std::move(info)), store_(store), devices_(devices) {}

  void SetDraining() { draining_ = true; }

  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* response) override {
    response->set_version(info_.version);
    response->set_database_id(store_.database_id());
    response->set_schema_version(store_.schema_version());
    response->set_api_revision(kApiRevision);
    response->set_draining(draining_);
    for (v1::Device& device : devices_.List()) *response->add_devices() = std::move(device);
    response->set_state_dir(info_.state_dir);
    response->mutable_addresses()->Assign(info_.addresses.begin(), info_.addresses.end());
    *response->mutable_start_time() = ToProto(info_.start_time);
    response->set_pid(::getpid());
    return grpc::Status::OK;
  }

 private:
  const Services::Info info_;
  Store& store_;
  const DeviceTable& devices_;
  std::atomic<bool> draining_{false};
};

}  // namespace

struct Services::Impl {
  Impl(Parts parts, const Info& info)
      : fan_out(parts.fan_out),
        streams(info.max_watchers),
        trainer(parts.jobs, {parts.store, parts.fan_out, streams}),
        runs(parts.store, log_poller, streams),
        checkpoints(parts.store),
        admin(info, parts.store, parts.devices) {}

  FanOut& fan_out;
  StreamLimit streams;
  LogPoller log_poller;
  TrainerService trainer;
  RunsService runs;
  CheckpointsService checkpoints;
  AdminService admin;
};

Services::Services(Parts parts, Info info) : impl_(std::make_unique<Impl>(parts, info)) {}
Services::~Services() = default;

std::vector<std::string> Services::Names() {
  const google::protobuf::FileDescriptor* file = v1::GetJobRequest::descriptor()->file();
  // Those that gRPC adds.
  std::vector<std::string> names = {"grpc.health.v1.Health",
                                    "grpc.reflection.v1alpha.ServerReflection"};
  for (int i = 0; i < file->service_count(); ++i) names.push_back(file->service(i)->full_name());
  return names;
}

void Services::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&impl_->trainer);
  builder->RegisterService(&impl_->runs);
  builder->RegisterService(&impl_->checkpoints);
  builder->RegisterService(&impl_->admin);
}

void Services::Drain() {
  impl_->admin.SetDraining();
  impl_->fan_out.Drain(
      absl::UnavailableError("the daemon is shutting down; call again when it has restarted"));
  impl_->log_poller.Wake(/*draining=*/true);
}

}  // namespace trainerd::server
