// SPDX-License-Identifier: Apache-2.0
// A thin layer over SQLite: one connection, cached prepared statements, errors as Status. It
// contains no SQL of its own.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd::server {

// One connection with WAL, synchronous=FULL and foreign keys on. Thread-safety: one thread at a
// time.
class Connection {
 public:
  struct Options {
    bool read_only = false;
    std::string vfs;  // name of a registered VFS; empty = the default one
  };
  // Errors: PermissionDenied (read-only folder), ResourceExhausted (disk full), DataLoss (not a
  // database), Internal.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& path,
                                                          const Options& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs statements without results or parameters.
  absl::Status Execute(const std::string& sql);
  // Makes `function` callable from SQL as NAME with so many arguments; its result depends on them
  // alone.
  using Function = void (*)(sqlite3_context* context, int count, sqlite3_value** arguments);
  absl::Status AddFunction(const char* name, int argument_count, Function function);
  // Calls `hook` with the table and the row id of each row that this connection inserts, changes or
  // deletes, before the commit. Rows of tables WITHOUT ROWID are not reported.
  using RowHook = std::function<void(std::string_view table, int64_t row_id)>;
  void OnRowChange(RowHook hook);
  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  // Whether the current transaction has read or written: it sees the database of that moment.
  bool has_snapshot() const { return sqlite3_txn_state(db_, nullptr) != SQLITE_TXN_NONE; }
  // Rows that this connection has inserted, changed or deleted.
  int64_t changed_rows() const { return sqlite3_total_changes64(db_); }
  int64_t last_insert_rowid() const { return sqlite3_last_insert_rowid(db_); }
  // Status of the last error of this connection. A full disk is ResourceExhausted with reason DISK,
  // the path of the database and the free bytes.
  absl::Status Error(std::string_view what) const;

 private:
  friend class Query;
  explicit Connection(sqlite3* db) : db_(db) {}
  // An unused statement for `sql`. Query's destructor returns it.
  absl::StatusOr<sqlite3_stmt*> Take(const char* sql);
  void GiveBack(const char* sql, sqlite3_stmt* statement);

  sqlite3* db_;
  RowHook row_hook_;
  // The key is the address of the literal, because each SQL text is a constant of the program.
  std::unordered_map<const char*, std::vector<sqlite3_stmt*>> free_statements_;
};

// One run of a prepared statement: Bind in order of the question marks, then Step until it is
// false, then status().
//   Query query(db, "SELECT id FROM jobs WHERE state = ?");
//   query.Bind(state);
//   while (query.Step()) use(query.Text(0));
//   RETURN_IF_ERROR(query.status());
class Query {
 public:
  // `sql` must be a string literal: its address is the key of the statement cache.
  Query(Connection& db, const char* sql);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Bind(int64_t value);
  Query& Bind(std::string_view text);
  Query& BindBlob(std::string_view bytes);

  // True: there is a row. False: done, or failed (see status()).
  bool Step();
  // Steps to the end; for statements without rows.
  absl::Status Run();
  const absl::Status& status() const { return status_; }

  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string_view Text(int column) const;
  // Valid until the next Step.
  std::string_view Blob(int column) const;

 private:
  Connection& db_;
  const char* sql_;
  sqlite3_stmt* statement_ = nullptr;
  int next_parameter_ = 1;
  absl::Status status_;
};

}  // namespace trainerd::server
