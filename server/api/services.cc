// SPDX-License-Identifier: Apache-2.0
#include "server/api/services.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "proto/base/time.h"
#include "proto/contract/job/api_services.h"
#include "proto/contract/job/revision.h"
#include "server/api/download_stream.h"
#include "server/api/evaluation_service.h"
#include "server/api/status.h"
#include "server/api/upload_stream.h"
#include "server/commands/files.h"
#include "server/commands/list_events.h"
#include "server/commands/list_jobs.h"
#include "server/commands/metric_query.h"
#include "server/commands/notifications.h"
#include "server/commands/queries.h"
#include "server/commands/usage.h"
#include "trainerd/v1/file.grpc.pb.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

// Disk reads and writes of transfers at once, and uploads that are read back.
constexpr int kTransferThreads = 4;
constexpr int kHashThreads = 2;

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
  grpc::Status RequestCheckpoint(grpc::ServerContext* context,
                                 const v1::RequestCheckpointRequest* request,
                                 v1::Job* response) override {
    return Reply(jobs_.RequestCheckpoint(*request, context->peer()), response);
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
  grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override {
    return Reply(server::ListEvents(store_, *request), response);
  }
  grpc::Status QueryMetrics(grpc::ServerContext*, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override {
    return Reply(server::QueryMetrics(store_, *request), response);
  }

 private:
  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
};

class CheckpointsService final
    : public v1::Checkpoints::WithCallbackMethod_DownloadCheckpoint<v1::Checkpoints::Service> {
 public:
  struct Parts {
    Store& store;
    CheckpointManager& checkpoints;
    DownloadsInUse& downloads;
    TransferParts transfers;
  };
  explicit CheckpointsService(Parts parts)
      : store_(parts.store),
        checkpoints_(parts.checkpoints),
        files_(parts.store, parts.downloads),
        transfers_(parts.transfers) {}

  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    return Reply(server::ListCheckpoints(store_, *request), response);
  }
  grpc::ServerWriteReactor<v1::FileChunk>* DownloadCheckpoint(
      grpc::CallbackServerContext*, const v1::DownloadCheckpointRequest* request) override {
    return StartDownload(transfers_, files_, *request);
  }
  grpc::Status UpdateCheckpoint(grpc::ServerContext* context,
                                const v1::UpdateCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    return Reply(checkpoints_.Update(*request, context->peer()), response);
  }
  // These two can take long; their caller may no longer wait.
  grpc::Status VerifyCheckpoint(grpc::ServerContext* context,
                                const v1::VerifyCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    return Reply(
        checkpoints_.Verify(*request, context->peer(), [&] { return context->IsCancelled(); }),
        response);
  }
  grpc::Status CollectGarbage(grpc::ServerContext* context,
                              const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    return Reply(checkpoints_.CollectGarbage(*request, context->peer(),
                                             [&] { return context->IsCancelled(); }),
                 response);
  }

 private:
  Store& store_;
  CheckpointManager& checkpoints_;
  CheckpointFiles files_;
  const TransferParts transfers_;
};

class FilesService final : public v1::Files::WithRawCallbackMethod_UploadFile<v1::Files::Service> {
 public:
  FilesService(Store& store, UploadParts uploads) : store_(store), uploads_(uploads) {}

  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadFile(grpc::CallbackServerContext* context,
                                                        grpc::ByteBuffer* response) override {
    return StartUpload(uploads_, context, response);
  }
  grpc::Status ListFiles(grpc::ServerContext*, const v1::ListFilesRequest* request,
                         v1::ListFilesResponse* response) override {
    return Reply(server::ListFiles(store_, uploads_.files, *request), response);
  }
  grpc::Status DeleteFile(grpc::ServerContext* context, const v1::DeleteFileRequest* request,
                          v1::File* response) override {
    return Reply(server::DeleteFile(store_, uploads_.files, *request, context->peer()), response);
  }

 private:
  Store& store_;
  const UploadParts uploads_;
};

class AdminService final : public v1::Admin::Service {
 public:
  AdminService(Services::Info info, const Services::Parts& parts)
      : info_(std::move(info)),
        store_(parts.store),
        devices_(parts.devices),
        notify_(parts.notify) {}

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
  grpc::Status ListNotifications(grpc::ServerContext*, const v1::ListNotificationsRequest* request,
                                 v1::ListNotificationsResponse* response) override {
    return Reply(server::ListNotifications(store_, *request), response);
  }
  grpc::Status RetryNotification(grpc::ServerContext* context,
                                 const v1::RetryNotificationRequest* request,
                                 v1::Notification* response) override {
    return Reply(server::RetryNotification(store_, *request, context->peer(), notify_), response);
  }
  grpc::Status QueryUsage(grpc::ServerContext*, const v1::QueryUsageRequest* request,
                          v1::QueryUsageResponse* response) override {
    return Reply(server::QueryUsage(store_, *request), response);
  }

 private:
  const Services::Info info_;
  Store& store_;
  const DeviceTable& devices_;
  const std::function<void()> notify_;
  std::atomic<bool> draining_{false};
};

}  // namespace

struct Services::Impl {
  Impl(Parts parts, const Info& info)
      : fan_out(parts.fan_out),
        streams(info.max_watchers),
        trainer(parts.jobs, {parts.store, parts.fan_out, streams}),
        runs(parts.store, log_poller, streams),
        checkpoints({parts.store, parts.checkpoints, parts.downloads, Transfers()}),
        evaluations(parts.evaluations, parts.store, parts.fan_out, streams),
        files(parts.store, {Transfers(), hash_threads, parts.files}),
        admin(info, parts) {}

  TransferParts Transfers() { return {transfer_threads, streams, draining}; }

  FanOut& fan_out;
  StreamLimit streams;
  std::atomic<bool> draining{false};
  ThreadPool transfer_threads{kTransferThreads};
  ThreadPool hash_threads{kHashThreads};
  LogPoller log_poller;
  TrainerService trainer;
  RunsService runs;
  CheckpointsService checkpoints;
  EvaluationService evaluations;
  FilesService files;
  AdminService admin;
};

Services::Services(Parts parts, Info info) : impl_(std::make_unique<Impl>(parts, info)) {}
Services::~Services() = default;

std::vector<std::string> Services::Names() {
  // Those that gRPC adds.
  std::vector<std::string> names = {"grpc.health.v1.Health",
                                    "grpc.reflection.v1alpha.ServerReflection"};
  for (const google::protobuf::ServiceDescriptor* service : ApiServices())
    names.push_back(service->full_name());
  return names;
}

void Services::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&impl_->trainer);
  builder->RegisterService(&impl_->runs);
  builder->RegisterService(&impl_->checkpoints);
  builder->RegisterService(&impl_->evaluations);
  builder->RegisterService(&impl_->files);
  builder->RegisterService(&impl_->admin);
}

void Services::Drain() {
  impl_->admin.SetDraining();
  impl_->draining = true;
  const absl::Status draining =
      absl::UnavailableError("the daemon is shutting down; call again when it has restarted");
  impl_->evaluations.Drain(draining);
  impl_->fan_out.Drain(draining);
  impl_->log_poller.Wake(/*draining=*/true);
}

}  // namespace trainerd::server
