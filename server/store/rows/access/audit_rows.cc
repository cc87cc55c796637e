// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/access/audit_rows.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/api_services.h"
#include "proto/contract/job/audit_hash.h"

namespace trainerd::server {
namespace {

std::string Bytes(sqlite3_value* value) {
  const auto* data = static_cast<const char*>(sqlite3_value_blob(value));
  return data == nullptr ? "" : std::string(data, sqlite3_value_bytes(value));
}

void HashRow(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::AuditEntry entry;
  entry.set_seq(sqlite3_value_int64(arguments[1]));
  *entry.mutable_time() = ToProto(absl::FromUnixMicros(sqlite3_value_int64(arguments[2])));
  entry.set_principal(Bytes(arguments[3]));
  entry.set_peer(Bytes(arguments[4]));
  entry.set_method(Bytes(arguments[5]));
  entry.set_resource(Bytes(arguments[6]));
  entry.set_request_id(Bytes(arguments[7]));
  entry.set_code(sqlite3_value_int(arguments[8]));
  const std::string hash = AuditHash(Bytes(arguments[0]), entry);
  sqlite3_result_blob(context, hash.data(), static_cast<int>(hash.size()), SQLITE_TRANSIENT);
}

void QualifyMethod(sqlite3_context* context, int, sqlite3_value** arguments) {
  const std::string name = QualifiedMethod(Bytes(arguments[0]));
  sqlite3_result_text(context, name.data(), static_cast<int>(name.size()), SQLITE_TRANSIENT);
}

int64_t Micros(absl::Time time) {
  return absl::ToUnixMicros(std::clamp(time, absl::UnixEpoch(), absl::FromUnixSeconds(1LL << 40)));
}

}  // namespace

absl::Status StoreAudit(Connection& db, const AuditRow& row, absl::Time now) {
  Query query(db,
              "INSERT INTO audit SELECT seq + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
              "audit_hash(hash, seq + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7) FROM (SELECT seq, hash FROM "
              "audit_start UNION ALL SELECT seq, hash FROM audit ORDER BY 1 DESC LIMIT 1)");
  return query.Bind(absl::ToUnixMicros(now))
      .Bind(row.principal)
      .Bind(row.peer)
      .Bind(QualifiedMethod(row.method))
      .Bind(row.resource)
      .Bind(row.request_id)
      .Bind(row.code)
      .Bind(row.detail)
      .Run();
}

absl::StatusOr<std::vector<v1::AuditEntry>> ListAuditRows(Connection& db, const AuditQuery& query) {
  // A name is a prefix of what is below it, up to a slash; "0" follows "/".
  Query select(db,
               "SELECT seq, time, principal, peer, method, resource, request_id, code, hash FROM "
               "audit WHERE seq > ?1 AND (?2 = '' OR principal = ?2) AND (?3 = '' OR resource = ?3 "
               "OR (resource > ?3 || '/' AND resource < ?3 || '0')) AND time >= ?4 AND time < ?5 "
               "ORDER BY seq LIMIT ?6");
  select.Bind(query.after_seq).Bind(query.principal).Bind(query.resource);
  select.Bind(Micros(query.start_time)).Bind(Micros(query.end_time)).Bind(query.limit);
  std::vector<v1::AuditEntry> entries;
  while (select.Step()) {
    v1::AuditEntry& entry = entries.emplace_back();
    entry.set_seq(select.Int(0));
    *entry.mutable_time() = ToProto(absl::FromUnixMicros(select.Int(1)));
    entry.set_principal(std::string(select.Text(2)));
    entry.set_peer(std::string(select.Text(3)));
    entry.set_method(std::string(select.Text(4)));
    entry.set_resource(std::string(select.Text(5)));
    entry.set_request_id(std::string(select.Text(6)));
    entry.set_code(static_cast<int>(select.Int(7)));
    entry.set_hash(std::string(select.Blob(8)));
  }
  RETURN_IF_ERROR(select.status());
  return entries;
}

absl::StatusOr<std::string> AuditStart(Connection& db) {
  Query query(db, "SELECT hash FROM audit_start");
  if (query.Step()) return std::string(query.Blob(0));
  RETURN_IF_ERROR(query.status());
  return absl::DataLossError("the database has no start of the audit log; restore a backup");
}

absl::Status PruneAudit(Connection& db, absl::Time before) {
  // The clock may have been set back: a row goes only with all rows before it.
  Query start(db,
              "UPDATE audit_start SET (seq, hash) = (SELECT seq, hash FROM audit WHERE seq < "
              "coalesce((SELECT seq FROM audit WHERE time >= ?1 ORDER BY seq LIMIT 1), "
              "9223372036854775807) ORDER BY seq DESC LIMIT 1) WHERE EXISTS (SELECT 1 FROM (SELECT "
              "time FROM audit ORDER BY seq LIMIT 1) WHERE time < ?1)");
  RETURN_IF_ERROR(start.Bind(absl::ToUnixMicros(before)).Run());
  Query remove(db, "DELETE FROM audit WHERE seq <= (SELECT seq FROM audit_start)");
  return remove.Run();
}

absl::Status AddAuditFunctions(Connection& db) {
  RETURN_IF_ERROR(db.AddFunction("audit_hash", 9, HashRow));
  return db.AddFunction("qualified_method", 1, QualifyMethod);
}

std::string QualifiedMethod(const std::string& method) {
  static const auto& names = *[] {
    auto* result = new std::map<std::string, std::string>;
    for (const google::protobuf::ServiceDescriptor* service : ApiServices()) {
      for (int i = 0; i < service->method_count(); ++i) {
        const std::string& name = service->method(i)->name();
        (*result)[name] = absl::StrCat(service->name(), ".", name);
      }
    }
    return result;
  }();
  const auto found = names.find(method);
  return found == names.end() ? method : found->second;
}

}  // namespace trainerd::server
