// SPDX-License-Identifier: Apache-2.0
// The gRPC services: check, call, convert. The work is in commands/ (commands and queries) and
// events/ (streams).
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <string>

#include "absl/time/time.h"
#include "server/api/log_stream.h"
#include "server/api/watch_stream.h"
#include "server/commands/job_manager.h"
#include "server/runs/device_table.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {

// Unary calls run on gRPC's threads and may wait for a commit. StreamStatus and WaitJob are
// callbacks and use no thread.
class TrainerService final : public v1::Trainer::WithRawCallbackMethod_StreamStatus<
                                 v1::Trainer::WithCallbackMethod_WaitJob<v1::Trainer::Service>> {
 public:
  TrainerService(JobManager& jobs, WatchParts watch) : jobs_(jobs), watch_(watch) {}

  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request,
                         v1::SubmitJobResponse* response) override;
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::Job* response) override;
  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::Job* response) override;
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::Job* response) override;
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         v1::Job* response) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
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
  grpc::Status ListAttempts(grpc::ServerContext* context, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override;

 private:
  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
};

class CheckpointsService final : public v1::Checkpoints::Service {
 public:
  explicit CheckpointsService(Store& store) : store_(store) {}
  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override;

 private:
  Store& store_;
};

class AdminService final : public v1::Admin::Service {
 public:
  struct Info {
    std::string version;
    std::string state_dir;
    absl::Time start_time;
  };
  AdminService(Info info, Store& store, const DeviceTable& devices)
      : info_(std::move(info)), store_(store), devices_(devices) {}
  void SetDraining() { draining_ = true; }
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest* request,
                             v1::ServerInfo* response) override;

 private:
  const Info info_;
  Store& store_;
  const DeviceTable& devices_;
  std::atomic<bool> draining_{false};
};

}  // namespace trainerd::server
