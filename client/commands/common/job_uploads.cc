// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/job_uploads.h"

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "client/commands/common/progress_line.h"
#include "client/transfer/file_upload.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"

namespace trainerd::client {
namespace {

absl::StatusOr<std::string> SendOne(Connection& connection, const Context& context,
                                    const std::string& path) {
  ProgressLine progress(context, path);
  ASSIGN_OR_RETURN(
      const v1::File file,
      SendFile(connection, {.path = path, .on_progress = [&](int64_t bytes, int64_t total_bytes) {
                              progress.Show(bytes, total_bytes);
                            }}));
  return FormatUploadPath({.sha256_hex = ParseUploadName(file.name()).value_or(""),
                           .file_name = path.substr(path.rfind('/') + 1)});
}

}  // namespace

absl::Status SendFilesOf(Connection& connection, const Context& context, v1::JobConfig* config) {
  // A file can be named twice.
  std::map<std::string, std::string> sent;
  absl::Status status;
  ReplaceFiles(config, [&](const std::string& path) {
    const bool is_local = absl::StartsWith(path, "/") && PathExists(path) && !IsFolder(path);
    if (!status.ok() || !is_local) return path;
    std::string& upload = sent[path];
    if (!upload.empty()) return upload;
    absl::StatusOr<std::string> name = SendOne(connection, context, path);
    if (name.ok()) return upload = *std::move(name);
    status = name.status();
    return path;
  });
  return status;
}

}  // namespace trainerd::client
