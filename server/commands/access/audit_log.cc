// SPDX-License-Identifier: Apache-2.0
#include "server/commands/access/audit_log.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/store/rows/access/audit_rows.h"

namespace trainerd::server {

absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(
    Store& store, const v1::ListAuditEntriesRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t after, PageToken(request.page_token()));
  AuditQuery query{.after_seq = after,
                   .principal = request.principal(),
                   .resource = request.resource(),
                   .limit = page + 1};
  if (request.has_start_time()) query.start_time = FromProto(request.start_time());
  if (request.has_end_time()) query.end_time = FromProto(request.end_time());
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::ListAuditEntriesResponse> {
    v1::ListAuditEntriesResponse response;
    ASSIGN_OR_RETURN(*response.mutable_start_hash(), AuditStart(db));
    ASSIGN_OR_RETURN(std::vector<v1::AuditEntry> entries, ListAuditRows(db, query));
    PageFill fill(page);
    int64_t last = 0;
    for (v1::AuditEntry& entry : entries) {
      if (!fill.Takes(entry)) {
        response.set_next_page_token(absl::StrCat(last));
        break;
      }
      last = entry.seq();
      *response.add_entries() = std::move(entry);
    }
    return response;
  });
}

}  // namespace trainerd::server
