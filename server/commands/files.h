// SPDX-License-Identifier: Apache-2.0
// The calls of the service Files, but for UploadFile (server/files).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/files/file_store.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/file.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::ListFilesResponse> ListFiles(Store& store, const FileStore& files,
                                                const v1::ListFilesRequest& request);

// Errors: InvalidArgument (INVALID_NAME), NotFound (FILE_NOT_FOUND), FailedPrecondition
// (FILE_IN_USE).
absl::StatusOr<v1::File> DeleteFile(Store& store, FileStore& files,
                                    const v1::DeleteFileRequest& request, const Caller& caller);

}  // namespace trainerd::server
