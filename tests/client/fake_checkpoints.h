// SPDX-License-Identifier: Apache-2.0
// The checkpoints of the fake daemon (fake_daemon.h).
#pragma once

#include <grpcpp/grpcpp.h>

#include <mutex>
#include <string>

#include "tests/client/fake_store.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

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

}  // namespace trainerd::client
