// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr int kBusyTimeoutMs = 10'000;
// When clients should retry a change that failed on a full disk.
constexpr absl::Duration kDiskFullRetry = absl::Seconds(10);

absl::StatusCode CodeOf(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_BUSY:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

// SQLITE_FULL is a failed write. A sync or the growth of another file reports a full disk in errno.
bool IsDiskFull(sqlite3* db, int code) {
  const int primary = code & 0xff;
  if (primary == SQLITE_FULL) return true;
  if (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN) return false;
  const int error = sqlite3_system_errno(db);
  return error == ENOSPC || error == EDQUOT;
}

absl::Status DiskFull(sqlite3* db, int code) {
  const char* name = sqlite3_db_filename(db, "main");
  const std::string path = name == nullptr ? "" : name;
  const absl::StatusOr<int64_t> bytes = FreeBytes(path);
  const std::string free = bytes.ok() ? absl::StrCat(*bytes) : "unknown";
  return WithRetry(
      ErrorWithReason(absl::StatusCode::kResourceExhausted, "DISK",
                      absl::StrCat("no space left for ", path, ": ",
                                   bytes.ok() ? FormatBytes(*bytes) : "an unknown number of bytes",
                                   " are free; free some space and call again (SQLite ", code, ")"),
                      {{"path", path}, {"free_bytes", free}}),
      kDiskFullRetry);
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& path,
                                                             const Options& options) {
  const int flags =
      options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* db = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX,
                                     options.vfs.empty() ? nullptr : options.vfs.c_str());
  std::unique_ptr<Connection> connection(new Connection(db));
  if (result != SQLITE_OK) return connection->Error(absl::StrCat("open database ", path));
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  // FULL syncs the log at each commit, so acknowledged changes survive a power cut.
  RETURN_IF_ERROR(Annotate(
      connection->Execute(options.read_only ? "PRAGMA query_only=ON; PRAGMA cache_size=-1024"
                                            : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                                              "PRAGMA foreign_keys=ON; PRAGMA cache_size=-4096"),
      "database ", path));
  return connection;
}

Connection::~Connection() {
  for (auto& [sql, statements] : free_statements_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  sqlite3_close(db_);
}

absl::Status Connection::AddFunction(const char* name, int argument_count, Function function) {
  const int result =
      sqlite3_create_function_v2(db_, name, argument_count, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                 nullptr, function, nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? absl::OkStatus() : Error("add an SQL function");
}

void Connection::OnRowChange(RowHook hook) {
  row_hook_ = std::move(hook);
  sqlite3_update_hook(
      db_,
      [](void* self, int, const char*, const char* table, sqlite3_int64 row_id) {
        static_cast<Connection*>(self)->row_hook_(table, row_id);
      },
      this);
}

absl::Status Connection::Execute(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) {
    return absl::OkStatus();
  }
  return Error(sql.substr(0, 80));
}

absl::Status Connection::Error(std::string_view what) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db_);
  if (db_ != nullptr && IsDiskFull(db_, code)) return DiskFull(db_, code);
  const char* text = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
  return absl::Status(CodeOf(code), absl::StrCat(View(what), ": ", text, " (SQLite ", code, ")"));
}

absl::StatusOr<sqlite3_stmt*> Connection::Take(const char* sql) {
  auto& statements = free_statements_[sql];
  if (!statements.empty()) {
    sqlite3_stmt* statement = statements.back();
    statements.pop_back();
    return statement;
  }
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    return Error(sql);
  }
  return statement;
}

void Connection::GiveBack(const char* sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  free_statements_[sql].push_back(statement);
}

Query::Query(Connection& db, const char* sql) : db_(db), sql_(sql) {
  absl::StatusOr<sqlite3_stmt*> statement = db.Take(sql);
  if (statement.ok()) {
    statement_ = *statement;
  } else {
    status_ = statement.status();
  }
}

Query::~Query() {
  if (statement_ != nullptr) db_.GiveBack(sql_, statement_);
}

Query& Query::Bind(int64_t value) {
  if (statement_ != nullptr) sqlite3_bind_int64(statement_, next_parameter_++, value);
  return *this;
}

Query& Query::Bind(std::string_view text) {
  if (statement_ != nullptr) {
    sqlite3_bind_text(statement_, next_parameter_++, text.data() ? text.data() : "",
                      static_cast<int>(text.size()), SQLITE_TRANSIENT);
  }
  return *this;
}

Query& Query::BindBlob(std::string_view bytes) {
  if (statement_ != nullptr) {
    sqlite3_bind_blob(statement_, next_parameter_++, bytes.data() ? bytes.data() : "",
                      static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  }
  return *this;
}

bool Query::Step() {
  if (statement_ == nullptr || !status_.ok()) return false;
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) status_ = db_.Error(sql_);
  return false;
}

absl::Status Query::Run() {
  while (Step()) {
  }
  return status_;
}

std::string_view Query::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {text == nullptr ? "" : text,
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Query::Blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return {bytes == nullptr ? "" : bytes,
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace trainerd::server
