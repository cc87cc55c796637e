// SPDX-License-Identifier: Apache-2.0
// UploadFile: a stream holds one message, and waits for its client without a thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include "proto/base/process/thread_pool.h"
#include "server/api/access/access.h"
#include "server/api/download_stream.h"
#include "server/files/file_store.h"

namespace trainerd::server {

struct UploadParts {
  TransferParts transfers;
  // Read complete uploads back, which can take minutes; the transfers continue meanwhile.
  ThreadPool& hash_threads;
  FileStore& files;
  Access& access;
};

// The call takes and answers serialized messages. The returned reactor deletes itself.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(UploadParts parts,
                                                       grpc::CallbackServerContext* context,
                                                       grpc::ByteBuffer* response);

}  // namespace trainerd::server
