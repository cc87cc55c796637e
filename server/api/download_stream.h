// SPDX-License-Identifier: Apache-2.0
// DownloadCheckpoint: a file in chunks of at most 1 MiB. A stream holds one chunk and no file
// descriptor, and waits for its client without a thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <string>

#include "proto/base/process/thread_pool.h"
#include "server/api/streams.h"
#include "server/commands/checkpoints/checkpoint_files.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// What the transfers of files share. All outlive the calls.
struct TransferParts {
  // Read and write the disk, so that gRPC's threads never wait for one.
  ThreadPool& threads;
  StreamLimit& limit;
  // Ends the transfers with UNAVAILABLE at their next chunk.
  const std::atomic<bool>& draining;
};

// `token`: as in StreamLimit::Enter. The returned reactor deletes itself.
grpc::ServerWriteReactor<v1::FileChunk>* StartDownload(TransferParts parts, CheckpointFiles& files,
                                                       grpc::CallbackServerContext* context,
                                                       const v1::DownloadCheckpointRequest& request,
                                                       const std::string& token);

}  // namespace trainerd::server
