// SPDX-License-Identifier: Apache-2.0
// A daemon in the test's own process, over a unix socket in a temporary folder. Each service is in
// a header of its own (fake_trainer.h and others), their common state in fake_store.h. Also runs
// trainctl in-process and collects what it prints.
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
#include "tests/client/fake_admin.h"
#include "tests/client/fake_checkpoints.h"
#include "tests/client/fake_runs.h"
#include "tests/client/fake_store.h"
#include "tests/client/fake_trainer.h"
#include "tests/temp_dir.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

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
