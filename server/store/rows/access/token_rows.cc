// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/access/token_rows.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

// 0 = absent.
int64_t MicrosOf(bool present, const google::protobuf::Timestamp& time) {
  return present ? absl::ToUnixMicros(FromProto(time)) : 0;
}

}  // namespace

absl::Status InsertToken(Connection& db, const TokenRow& row) {
  Query query(db,
              "INSERT INTO tokens (id, hash, principal, role, create_time, expire_time) VALUES (?, "
              "?, ?, ?, ?, ?)");
  return query.Bind(row.id)
      .BindBlob(row.hash)
      .Bind(row.token.principal())
      .Bind(row.token.role())
      .Bind(MicrosOf(true, row.token.create_time()))
      .Bind(MicrosOf(row.token.has_expire_time(), row.token.expire_time()))
      .Run();
}

absl::StatusOr<std::vector<TokenRow>> ListTokenRows(Connection& db, int64_t before_number,
                                                    int limit) {
  Query query(
      db,
      "SELECT number, id, hash, principal, role, create_time, expire_time, revoke_time, "
      "last_use_time FROM tokens WHERE ?1 = 0 OR number < ?1 ORDER BY number DESC LIMIT ?2");
  query.Bind(before_number).Bind(limit);
  std::vector<TokenRow> rows;
  while (query.Step()) {
    TokenRow& row = rows.emplace_back();
    row.number = query.Int(0);
    row.id = std::string(query.Text(1));
    row.hash = std::string(query.Blob(2));
    v1::Token& token = row.token;
    token.set_name(absl::StrCat("tokens/", row.id));
    token.set_principal(std::string(query.Text(3)));
    token.set_role(static_cast<v1::Role>(query.Int(4)));
    const auto time = [&](int column) { return ToProto(absl::FromUnixMicros(query.Int(column))); };
    *token.mutable_create_time() = time(5);
    if (query.Int(6) != 0) *token.mutable_expire_time() = time(6);
    if (query.Int(7) != 0) *token.mutable_revoke_time() = time(7);
    if (query.Int(8) != 0) *token.mutable_last_use_time() = time(8);
  }
  RETURN_IF_ERROR(query.status());
  return rows;
}

absl::Status SetTokenRevoked(Connection& db, std::string_view id, absl::Time now) {
  Query query(db, "UPDATE tokens SET revoke_time = ? WHERE id = ? AND revoke_time = 0");
  return query.Bind(absl::ToUnixMicros(now)).Bind(id).Run();
}

absl::Status SetTokenUsed(Connection& db, std::string_view id, absl::Time minute) {
  Query query(db, "UPDATE tokens SET last_use_time = ? WHERE id = ?");
  return query.Bind(absl::ToUnixMicros(minute)).Bind(id).Run();
}

absl::Status PruneTokens(Connection& db, absl::Time before) {
  Query query(db,
              "DELETE FROM tokens WHERE (revoke_time > 0 AND revoke_time < ?1) OR (expire_time > 0 "
              "AND expire_time < ?1)");
  return query.Bind(absl::ToUnixMicros(before)).Run();
}

}  // namespace trainerd::server
