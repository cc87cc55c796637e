// SPDX-License-Identifier: Apache-2.0
// Rows of the table audit: a chain in which each row holds a hash over itself and the row before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

struct AuditRow {
  // Name of the RPC, with or without its service.
  std::string method;
  std::string resource;
  std::string principal;
  std::string peer;
  std::string request_id = "";
  // google.rpc.Code
  int code = 0;
  // Why, or what changed; not part of the API.
  std::string detail = "";
};
// Appends to the chain, in one statement. `db` has AddAuditFunctions.
absl::Status StoreAudit(Connection& db, const AuditRow& row, absl::Time now);

struct AuditQuery {
  int64_t after_seq = 0;
  // Empty = all. resource: the name itself and everything below it.
  std::string principal = "";
  std::string resource = "";
  absl::Time start_time = absl::InfinitePast();
  absl::Time end_time = absl::InfiniteFuture();
  int limit = 100;
};
// Oldest first.
absl::StatusOr<std::vector<v1::AuditEntry>> ListAuditRows(Connection& db, const AuditQuery& query);
// The hash of the newest row that was removed; AuditChainStart if none was.
absl::StatusOr<std::string> AuditStart(Connection& db);
// Removes the rows before the first one that is not older than `before`.
absl::Status PruneAudit(Connection& db, absl::Time before);

// Makes these callable from SQL: audit_hash(PREVIOUS, SEQ, TIME, PRINCIPAL, PEER, METHOD, RESOURCE,
// REQUEST_ID, CODE) and qualified_method(METHOD).
absl::Status AddAuditFunctions(Connection& db);

// "Pause" → "Trainer.Pause"; a name that no service has stays.
std::string QualifiedMethod(const std::string& method);

}  // namespace trainerd::server
