// SPDX-License-Identifier: Apache-2.0
// The daemon in this process, with real gRPC clients. There is no worker program, so jobs stay in
// the queue.
#pragma once

#include <fcntl.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/server.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {

// The detail of this type in a status; empty if there is none.
template <typename Detail>
Detail DetailOf(const grpc::Status& status) {
  Detail detail;
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  for (const google::protobuf::Any& any : details.details()) {
    if (!any.Is<Detail>()) continue;
    EXPECT_TRUE(any.UnpackTo(&detail));
  }
  return detail;
}

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
    settings_.set_max_watchers(100);
    settings_.set_worker_path(dir_ / "no-worker");
    settings_.set_shim_path(dir_ / "no-shim");
    settings_.set_inspect_path(dir_ / "no-inspect");
  }
  // `settings_` has the rest.
  absl::Status StartServer(const std::string& state,
                           const std::vector<std::string>& listen = {"unix"}) {
    std::vector<ConfigViolation> violations;
    v1::ServerConfig config = settings_;
    config.set_state_dir(dir_ / state);
    config.mutable_listen()->Assign(listen.begin(), listen.end());
    auto server = Server::Start({.config = ResolveServerConfig(config, &violations),
                                 .version = "test",
                                 .keepalive = keepalive_});
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return absl::OkStatus();
  }
  // The socket's path may be too long for a socket address, so the folder's descriptor is used.
  void Connect(const std::string& state) {
    folder_ = ::open((dir_ / state).c_str(), O_RDONLY | O_DIRECTORY);
    ConnectTo(socket());
  }
  void ConnectTo(const std::string& address) {
    channel_ = NewChannel(address);
    trainer_ = v1::Trainer::NewStub(channel_);
  }
  // A connection of its own.
  static std::shared_ptr<grpc::Channel> NewChannel(const std::string& address,
                                                   grpc::ChannelArguments arguments = {}) {
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  std::string socket() const {
    return "unix:/proc/self/fd/" + std::to_string(folder_) + "/trainerd.sock";
  }

  v1::SubmitJobRequest Request(const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_job_id(id);
    request.mutable_config()->mutable_model()->set_path(dir_ / "model");
    request.mutable_config()->mutable_data()->add_train()->set_path(dir_ / "d.jsonl");
    return request;
  }
  grpc::Status Submit(const v1::SubmitJobRequest& request, v1::Job* job = nullptr) {
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    const grpc::Status status = trainer_->SubmitJob(&context, request, &response);
    if (job != nullptr) *job = response.job();
    return status;
  }
  grpc::Status Submit(const std::string& id, v1::Job* job = nullptr) {
    return Submit(Request(id), job);
  }
  grpc::Status Stop(const std::string& id, v1::Job* job = nullptr) {
    grpc::ClientContext context;
    v1::StopRequest request;
    request.set_name("jobs/" + id);
    v1::Job reply;
    return trainer_->Stop(&context, request, job != nullptr ? job : &reply);
  }

  TempDir dir_;
  v1::ServerConfig settings_;
  Keepalive keepalive_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Trainer::Stub> trainer_;
  int folder_ = -1;
};

}  // namespace trainerd::server
