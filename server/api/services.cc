// SPDX-License-Identifier: Apache-2.0
#include "server/api/services.h"

#include <unistd.h>

#include <atomic>
#include <optional>
#include <utility>

#include "proto/base/time.h"
#include "proto/contract/job/api_services.h"
#include "proto/contract/job/revision.h"
#include "server/api/access/serve.h"
#include "server/api/download_stream.h"
#include "server/api/evaluation_service.h"
#include "server/api/upload_stream.h"
#include "server/commands/access/audit_log.h"
#include "server/commands/files.h"
#include "server/commands/notifications.h"
#include "server/commands/queries/disk_condition.h"
#include "server/commands/queries/list_events.h"
#include "server/commands/queries/metric_query.h"
#include "server/commands/queries/queries.h"
#include "server/commands/queries/usage.h"
#include "trainerd/v1/file.grpc.pb.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

// Disk reads and writes of transfers at once, and uploads that are read back.
constexpr int kTransferThreads = 4;
constexpr int kHashThreads = 2;

// The reactor of a stream that is refused.
template <typename Message>
class RefusedStream final : public grpc::ServerWriteReactor<Message> {
 public:
  explicit RefusedStream(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};
template <typename Message>
grpc::ServerWriteReactor<Message>* RefuseStream(const absl::Status& status) {
  return new RefusedStream<Message>(status);
}

// Unary calls run on gRPC's threads and may wait for a commit. StreamStatus and WaitJob are
// callbacks and use no thread.
class TrainerService final : public v1::Trainer::WithRawCallbackMethod_StreamStatus<
                                 v1::Trainer::WithCallbackMethod_WaitJob<v1::Trainer::Service>> {
 public:
  TrainerService(JobManager& jobs, WatchParts watch)
      : jobs_(jobs), watch_(watch), access_(watch.access) {}

  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request,
                         v1::SubmitJobResponse* response) override {
    // validate_only can take long; its caller may no longer wait.
    return Serve(access_, context, request, response, [&](const Caller& caller) {
      return jobs_.Submit(*request, caller, [&] { return context->IsCancelled(); });
    });
  }
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.Pause(*request, caller); });
  }
  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.Resume(*request, caller); });
  }
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.Stop(*request, caller); });
  }
  grpc::Status UpdateJob(grpc::ServerContext* context, const v1::UpdateJobRequest* request,
                         v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.Update(*request, caller); });
  }
  grpc::Status ExplainJob(grpc::ServerContext* context, const v1::ExplainJobRequest* request,
                          v1::Explanation* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return jobs_.Explain(*request); });
  }
  grpc::Status RequestCheckpoint(grpc::ServerContext* context,
                                 const v1::RequestCheckpointRequest* request,
                                 v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.RequestCheckpoint(*request, caller); });
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return jobs_.Delete(*request, caller); });
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::GetJob(watch_.store, request->name()); });
  }
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return jobs_.List(*request); });
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
  Access& access_;
};

class RunsService final : public v1::Runs::WithCallbackMethod_StreamLogs<v1::Runs::Service> {
 public:
  RunsService(const WatchParts& watch, LogPoller& poller)
      : store_(watch.store), poller_(poller), limit_(watch.limit), access_(watch.access) {}

  grpc::ServerWriteReactor<v1::LogChunk>* StreamLogs(
      grpc::CallbackServerContext* context, const v1::StreamLogsRequest* request) override {
    const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
    if (!identity.ok()) return RefuseStream<v1::LogChunk>(identity.status());
    return StartStreamLogs(store_, poller_, {limit_, identity->token}, context, *request);
  }
  grpc::Status ListAttempts(grpc::ServerContext* context, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::ListAttempts(store_, *request); });
  }
  grpc::Status ListEvents(grpc::ServerContext* context, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::ListEvents(store_, *request); });
  }
  grpc::Status QueryMetrics(grpc::ServerContext* context, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::QueryMetrics(store_, *request); });
  }

 private:
  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
  Access& access_;
};

class CheckpointsService final
    : public v1::Checkpoints::WithCallbackMethod_DownloadCheckpoint<v1::Checkpoints::Service> {
 public:
  struct Parts {
    Store& store;
    CheckpointManager& checkpoints;
    DownloadsInUse& downloads;
    TransferParts transfers;
    Access& access;
  };
  explicit CheckpointsService(Parts parts)
      : store_(parts.store),
        checkpoints_(parts.checkpoints),
        files_(parts.store, parts.downloads),
        transfers_(parts.transfers),
        access_(parts.access) {}

  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::ListCheckpoints(store_, *request); });
  }
  grpc::ServerWriteReactor<v1::FileChunk>* DownloadCheckpoint(
      grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) override {
    const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
    if (!identity.ok()) return RefuseStream<v1::FileChunk>(identity.status());
    return StartDownload(transfers_, files_, context, *request, identity->token);
  }
  grpc::Status UpdateCheckpoint(grpc::ServerContext* context,
                                const v1::UpdateCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return checkpoints_.Update(*request, caller); });
  }
  // These two can take long; their caller may no longer wait.
  grpc::Status VerifyCheckpoint(grpc::ServerContext* context,
                                const v1::VerifyCheckpointRequest* request,
                                v1::Checkpoint* response) override {
    return Serve(access_, context, request, response, [&](const Caller& caller) {
      return checkpoints_.Verify(*request, caller, [&] { return context->IsCancelled(); });
    });
  }
  grpc::Status CollectGarbage(grpc::ServerContext* context,
                              const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    return Serve(access_, context, request, response, [&](const Caller& caller) {
      return checkpoints_.CollectGarbage(*request, caller, [&] { return context->IsCancelled(); });
    });
  }

 private:
  Store& store_;
  CheckpointManager& checkpoints_;
  CheckpointFiles files_;
  const TransferParts transfers_;
  Access& access_;
};

class FilesService final : public v1::Files::WithRawCallbackMethod_UploadFile<v1::Files::Service> {
 public:
  FilesService(Store& store, UploadParts uploads)
      : store_(store), uploads_(uploads), access_(uploads.access) {}

  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadFile(grpc::CallbackServerContext* context,
                                                        grpc::ByteBuffer* response) override {
    return StartUpload(uploads_, context, response);
  }
  grpc::Status ListFiles(grpc::ServerContext* context, const v1::ListFilesRequest* request,
                         v1::ListFilesResponse* response) override {
    return Serve(access_, context, request, response, [&](const Caller&) {
      return server::ListFiles(store_, uploads_.files, *request);
    });
  }
  grpc::Status DeleteFile(grpc::ServerContext* context, const v1::DeleteFileRequest* request,
                          v1::File* response) override {
    return Serve(access_, context, request, response, [&](const Caller& caller) {
      return server::DeleteFile(store_, uploads_.files, *request, caller);
    });
  }

 private:
  Store& store_;
  const UploadParts uploads_;
  Access& access_;
};

class AdminService final : public v1::Admin::Service {
 public:
  AdminService(Services::Info info, const Services::Parts& parts)
      : info_(std::move(info)),
        store_(parts.store),
        drain_(parts.drain),
        devices_(parts.devices),
        notify_(parts.notify),
        access_(parts.access),
        tokens_(parts.tokens),
        certificates_(parts.certificates),
        disk_(info_.state_dir) {}

  void SetShuttingDown() { shutting_down_ = true; }

  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest* request,
                             v1::ServerInfo* response) override {
    const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
    return identity.ok() ? Describe(*identity, response) : ToGrpc(identity.status());
  }
  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                     v1::ServerInfo* response) override {
    const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
    if (!identity.ok()) return ToGrpc(identity.status());
    const absl::Status begun = drain_.Begin(*request, identity->caller);
    return begun.ok() ? Describe(*identity, response) : ToGrpc(begun);
  }
  grpc::Status Undrain(grpc::ServerContext* context, const v1::UndrainRequest* request,
                       v1::ServerInfo* response) override {
    const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
    if (!identity.ok()) return ToGrpc(identity.status());
    const absl::Status ended = drain_.End(*request, identity->caller);
    return ended.ok() ? Describe(*identity, response) : ToGrpc(ended);
  }
  grpc::Status ListNotifications(grpc::ServerContext* context,
                                 const v1::ListNotificationsRequest* request,
                                 v1::ListNotificationsResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::ListNotifications(store_, *request); });
  }
  grpc::Status RetryNotification(grpc::ServerContext* context,
                                 const v1::RetryNotificationRequest* request,
                                 v1::Notification* response) override {
    return Serve(access_, context, request, response, [&](const Caller& caller) {
      return server::RetryNotification(store_, *request, caller, notify_);
    });
  }
  grpc::Status CreateToken(grpc::ServerContext* context, const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return tokens_.Create(*request, caller); });
  }
  grpc::Status ListTokens(grpc::ServerContext* context, const v1::ListTokensRequest* request,
                          v1::ListTokensResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return tokens_.List(*request); });
  }
  grpc::Status RevokeToken(grpc::ServerContext* context, const v1::RevokeTokenRequest* request,
                           v1::Token* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller& caller) { return tokens_.Revoke(*request, caller); });
  }
  grpc::Status ListAuditEntries(grpc::ServerContext* context,
                                const v1::ListAuditEntriesRequest* request,
                                v1::ListAuditEntriesResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::ListAuditEntries(store_, *request); });
  }
  grpc::Status QueryUsage(grpc::ServerContext* context, const v1::QueryUsageRequest* request,
                          v1::QueryUsageResponse* response) override {
    return Serve(access_, context, request, response,
                 [&](const Caller&) { return server::QueryUsage(store_, *request); });
  }

 private:
  // The daemon as this caller sees it.
  grpc::Status Describe(const Identity& caller, v1::ServerInfo* response) {
    const absl::StatusOr<int> attempts = drain_.CountActiveAttempts();
    if (!attempts.ok()) return ToGrpc(attempts.status());
    response->set_active_attempts(*attempts);
    response->set_principal(caller.caller.principal);
    response->set_role(caller.role);
    if (certificates_ != nullptr) {
      for (v1::Job::Condition& condition : certificates_->Conditions(absl::Now()))
        *response->add_conditions() = std::move(condition);
    }
    if (std::optional<v1::Job::Condition> low = disk_.Check(absl::Now()); low.has_value())
      *response->add_conditions() = *std::move(low);
    response->set_version(info_.version);
    response->set_database_id(store_.database_id());
    response->set_schema_version(store_.schema_version());
    response->set_api_revision(kApiRevision);
    response->set_draining(shutting_down_ || drain_.in_force());
    for (v1::Device& device : devices_.List()) *response->add_devices() = std::move(device);
    response->set_state_dir(info_.state_dir);
    response->mutable_addresses()->Assign(info_.addresses.begin(), info_.addresses.end());
    *response->mutable_start_time() = ToProto(info_.start_time);
    response->set_pid(::getpid());
    return grpc::Status::OK;
  }

  const Services::Info info_;
  Store& store_;
  DrainCommands& drain_;
  const DeviceTable& devices_;
  const std::function<void()> notify_;
  Access& access_;
  Tokens& tokens_;
  Certificates* const certificates_;
  DiskCondition disk_;
  std::atomic<bool> shutting_down_{false};
};

}  // namespace

struct Services::Impl {
  Impl(Parts parts, const Info& info)
      : fan_out(parts.fan_out),
        streams(info.max_watchers),
        watch{parts.store, parts.fan_out, streams, parts.access},
        trainer(parts.jobs, watch),
        runs(watch, log_poller),
        checkpoints({parts.store, parts.checkpoints, parts.downloads, Transfers(), parts.access}),
        evaluations(parts.evaluations, watch),
        files(parts.store, {Transfers(), hash_threads, parts.files, parts.access}),
        admin(info, parts) {}

  TransferParts Transfers() { return {transfer_threads, streams, draining}; }

  FanOut& fan_out;
  StreamLimit streams;
  std::atomic<bool> draining{false};
  ThreadPool transfer_threads{kTransferThreads};
  ThreadPool hash_threads{kHashThreads};
  LogPoller log_poller;
  const WatchParts watch;
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

void Services::EndRevokedCalls(const Tokens& tokens) {
  impl_->streams.EndRevoked([&](const std::string& token) { return tokens.IsValid(token); });
}

void Services::Drain() {
  impl_->admin.SetShuttingDown();
  impl_->draining = true;
  const absl::Status draining =
      absl::UnavailableError("the daemon is shutting down; call again when it has restarted");
  impl_->evaluations.Drain(draining);
  impl_->fan_out.Drain(draining);
  impl_->log_poller.Wake(/*draining=*/true);
}

}  // namespace trainerd::server
