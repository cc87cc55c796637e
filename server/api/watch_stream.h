// SPDX-License-Identifier: Apache-2.0
// The two calls that wait for the event log: StreamStatus (a stream of pre-serialized messages) and
// WaitJob (one reply). Both are watchers of the fan-out and use no thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/api/access/access.h"
#include "server/api/streams.h"
#include "server/events/fan_out.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// All outlive the server.
struct WatchParts {
  Store& store;
  FanOut& fan_out;
  StreamLimit& limit;
  Access& access;
};

// The returned reactor deletes itself.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartStreamStatus(WatchParts parts,
                                                              grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer& request);
grpc::ServerUnaryReactor* StartWaitJob(WatchParts parts, grpc::CallbackServerContext* context,
                                       const v1::WaitJobRequest& request, v1::Job* response);

}  // namespace trainerd::server
