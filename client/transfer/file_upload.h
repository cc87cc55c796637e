// SPDX-License-Identifier: Apache-2.0
// Sends a local file to the daemon's store of uploads. An interrupted upload continues where it
// ended, and a file that the daemon has is not sent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/net/connection.h"
#include "trainerd/v1/file.pb.h"

namespace trainerd::client {

struct UploadOptions {
  std::string path;
  // Called now and then with the bytes that the daemon has, and those of the file. Null: not
  // called.
  std::function<void(int64_t bytes, int64_t total_bytes)> on_progress = nullptr;
};

// Errors: of reading the file; FailedPrecondition if it changes meanwhile; those of the daemon.
absl::StatusOr<v1::File> SendFile(Connection& connection, const UploadOptions& options);

}  // namespace trainerd::client
