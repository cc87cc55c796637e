// SPDX-License-Identifier: Apache-2.0
// The gRPC services: check, call, convert. The work is in commands/ (commands and queries) and
// events/ (streams).
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/api/access/access.h"
#include "server/api/access/certificates.h"
#include "server/api/log_stream.h"
#include "server/api/watch_stream.h"
#include "server/commands/checkpoints/checkpoint_files.h"
#include "server/commands/checkpoints/checkpoint_manager.h"
#include "server/commands/drain.h"
#include "server/commands/evaluations.h"
#include "server/commands/job_manager.h"
#include "server/files/file_store.h"
#include "server/runs/device_table.h"
#include "server/store/store.h"

namespace trainerd::server {

// All services of the daemon.
class Services {
 public:
  // All outlive the services.
  struct Parts {
    JobManager& jobs;
    CheckpointManager& checkpoints;
    Store& store;
    FanOut& fan_out;
    Evaluations& evaluations;
    DrainCommands& drain;
    const DeviceTable& devices;
    FileStore& files;
    DownloadsInUse& downloads;
    Access& access;
    Tokens& tokens;
    // Null: there is no TLS address.
    Certificates* certificates;
    // Wakes the notifier.
    std::function<void()> notify;
  };
  struct Info {
    std::string version;
    std::string state_dir;
    // As trainctl's --address accepts them.
    std::vector<std::string> addresses;
    absl::Time start_time;
    int max_watchers = 0;
  };
  Services(Parts parts, Info info);
  ~Services();

  // Full names of all services, for example "trainerd.v1.Trainer".
  static std::vector<std::string> Names();

  void Register(grpc::ServerBuilder* builder);
  // Ends the open calls whose token was revoked or has expired.
  void EndRevokedCalls(const Tokens& tokens);
  // Ends all streams; from now on ServerInfo reports that the daemon drains.
  void Drain();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace trainerd::server
