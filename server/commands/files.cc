// SPDX-License-Identifier: Apache-2.0
#include "server/commands/files.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "server/commands/command.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/store/errors.h"

namespace trainerd::server {

absl::StatusOr<v1::ListFilesResponse> ListFiles(Store& store, const FileStore& files,
                                                const v1::ListFilesRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t before, PageToken(request.page_token()));
  v1::ListFilesResponse response;
  std::vector<FileRow> rows;
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t total, TotalFileBytes(db));
    response.set_total_bytes(total);
    ASSIGN_OR_RETURN(
        rows,
        ListFileRows(db, {.owner = request.owner(), .before_number = before, .limit = page + 1}));
    return absl::OkStatus();
  }));
  PageFill fill(page);
  int64_t last = 0;
  for (const FileRow& row : rows) {
    v1::File file = files.Describe(row);
    if (!fill.Takes(file)) {
      response.set_next_page_token(absl::StrCat(last));
      break;
    }
    last = row.number;
    *response.add_files() = std::move(file);
  }
  return response;
}

absl::StatusOr<v1::File> DeleteFile(Store& store, FileStore& files,
                                    const v1::DeleteFileRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  const std::optional<std::string> sha256 = ParseUploadName(request.name());
  if (!sha256.has_value()) {
    return WithReason(BadField("name", absl::StrCat(Quoted(request.name()),
                                                    " is not the name of a file; use "
                                                    "files/SHA256")),
                      "INVALID_NAME");
  }
  CommandCall call = MakeCall("DeleteFile", request, caller);
  call.reason = request.name();
  call.resource = request.name();
  v1::File reply;
  RETURN_IF_ERROR(files.Remove(*sha256, [&]() -> absl::StatusOr<bool> {
    bool deleted = false;
    RETURN_IF_ERROR(RunCommand(
        store, call, /*job_id=*/"",
        [&](Transaction& t) -> absl::Status {
          ASSIGN_OR_RETURN(const std::optional<FileRow> row, FindFile(t.db(), *sha256));
          if (!row.has_value()) return NoSuchFile(*sha256);
          ASSIGN_OR_RETURN(const std::optional<std::string> user, UserOfFile(t.db(), *sha256));
          if (user.has_value()) {
            return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "FILE_IN_USE",
                                   absl::StrCat(request.name(), " is in use: jobs/", *user,
                                                " names it; remove it after that job has ended"));
          }
          reply = files.Describe(*row);
          deleted = true;
          return DeleteFileRow(t.db(), *sha256);
        },
        &reply));
    return deleted;
  }));
  return reply;
}

}  // namespace trainerd::server
