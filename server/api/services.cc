// SPDX-License-Identifier: Apache-2.0
#include "server/api/services.h"

#include <unistd.h>

#include <utility>

#include "proto/base/time.h"
#include "server/api/status.h"
#include "server/commands/queries.h"
#include "server/store/names.h"

namespace trainerd::server {
namespace {

// Grows with every addition to the public API.
constexpr int kApiRevision = 1;

template <typename Message>
grpc::Status Answer(absl::StatusOr<Message> result, Message* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

}  // namespace

grpc::Status TrainerService::SubmitJob(grpc::ServerContext* context,
                                       const v1::SubmitJobRequest* request,
                                       v1::SubmitJobResponse* response) {
  return Answer(jobs_.Submit(*request, context->peer()), response);
}

grpc::Status TrainerService::Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                                   v1::Job* response) {
  return Answer(jobs_.Pause(*request, context->peer()), response);
}

grpc::Status TrainerService::Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                                    v1::Job* response) {
  return Answer(jobs_.Resume(*request, context->peer()), response);
}

grpc::Status TrainerService::Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                                  v1::Job* response) {
  return Answer(jobs_.Stop(*request, context->peer()), response);
}

grpc::Status TrainerService::DeleteJob(grpc::ServerContext* context,
                                       const v1::DeleteJobRequest* request, v1::Job* response) {
  return Answer(jobs_.Delete(*request, context->peer()), response);
}

grpc::Status TrainerService::GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
                                    v1::Job* response) {
  return Answer(server::GetJob(watch_.store, request->name()), response);
}

grpc::Status TrainerService::ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                                      v1::ListJobsResponse* response) {
  return Answer(server::ListJobs(watch_.store, *request), response);
}

grpc::Status RunsService::ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest* request,
                                       v1::ListAttemptsResponse* response) {
  return Answer(server::ListAttempts(store_, *request), response);
}

grpc::Status CheckpointsService::ListCheckpoints(grpc::ServerContext*,
                                                 const v1::ListCheckpointsRequest* request,
                                                 v1::ListCheckpointsResponse* response) {
  return Answer(server::ListCheckpoints(store_, *request), response);
}

grpc::Status AdminService::GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                                         v1::ServerInfo* response) {
  response->set_version(info_.version);
  response->set_database_id(store_.database_id());
  response->set_schema_version(store_.schema_version());
  response->set_api_revision(kApiRevision);
  response->set_draining(draining_);
  for (v1::Device& device : devices_.List()) *response->add_devices() = std::move(device);
  response->set_state_dir(info_.state_dir);
  *response->mutable_start_time() = ToProto(info_.start_time);
  response->set_pid(::getpid());
  return grpc::Status::OK;
}

}  // namespace trainerd::server
