// SPDX-License-Identifier: Apache-2.0
#include "server/store/schema.h"

#include <unistd.h>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "server/store/message_functions.h"
#include "server/store/rows/access/audit_rows.h"

namespace trainerd::server {
namespace {

absl::StatusOr<int> Version(Connection& db) {
  Query query(db, "PRAGMA user_version");
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  return row ? static_cast<int>(query.Int(0)) : 0;
}

absl::Status BackUp(Connection& db, const std::string& path, int version) {
  const std::string copy = absl::StrCat(path, ".v", version, ".backup");
  // A backup of an interrupted migration has the same version; replace it.
  ::unlink(copy.c_str());
  RETURN_IF_ERROR(Annotate(
      db.Execute(absl::StrCat("VACUUM INTO '", absl::StrReplaceAll(copy, {{"'", "''"}}), "'")),
      "back up the database before its migration"));
  return FsyncPath(copy);
}

std::string NewDatabaseId() {
  absl::BitGen random;
  return absl::StrFormat("%016x", absl::Uniform<uint64_t>(random));
}

absl::Status Step(Connection& db, const std::string& sql, int version) {
  RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status = db.Execute(sql);
  if (status.ok() && version == 1) {
    Query query(db, "INSERT INTO meta VALUES ('database_id', ?)");
    status = query.Bind(NewDatabaseId()).Run();
  }
  if (status.ok()) status = db.Execute(absl::StrCat("PRAGMA user_version=", version));
  if (status.ok()) status = db.Execute("COMMIT");
  if (!status.ok()) db.Execute("ROLLBACK").IgnoreError();
  return Annotate(status, "migrate the database to version ", version);
}

}  // namespace

absl::StatusOr<int> Migrate(Connection& db, const std::string& path,
                            const std::vector<std::string>& migrations) {
  const int newest = static_cast<int>(migrations.size());
  ASSIGN_OR_RETURN(int version, Version(db));
  if (version > newest) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the database ", path, " has schema version ", version,
        ", written by a newer trainerd; this trainerd supports versions up to ", newest,
        ". Run the newer trainerd, or restore the backup ", path, ".v", newest, ".backup"));
  }
  RETURN_IF_ERROR(AddAuditFunctions(db));
  if (version > 0 && version < newest) RETURN_IF_ERROR(BackUp(db, path, version));
  if (version < newest) RETURN_IF_ERROR(AddMessageFunctions(db));
  for (; version < newest; ++version) {
    RETURN_IF_ERROR(Step(db, migrations[version], version + 1));
  }
  return version;
}

}  // namespace trainerd::server
