// SPDX-License-Identifier: Apache-2.0
// The database of one daemon: one writer thread for changes, a few read-only connections for
// everything else. What was acknowledged by Change survives kill -9 and a power cut.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/store/sqlite.h"
#include "server/store/writer.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Store {
 public:
  struct Options {
    std::string path;  // the database file
    std::string vfs;   // for tests
    Writer::Listener listener = [](const std::vector<EventRecord>&) {};
    Writer::Clock clock = [] { return absl::Now(); };
  };
  // Opens or creates the database and brings it to the newest schema. Errors: of Connection::Open
  // and Migrate.
  static absl::StatusOr<std::unique_ptr<Store>> Open(Options options);

  // Runs a change and answers once it is durable.
  absl::Status Change(Writer::Change change) { return writer_->Run(std::move(change)); }
  Writer& writer() { return *writer_; }

  // Runs `read` in one read transaction: everything in it is seen as of one moment.
  template <typename Function>
  absl::Status Read(Function read) {
    absl::StatusOr<std::unique_ptr<Connection>> db = TakeReader();
    if (!db.ok()) return db.status();
    absl::Status status = (*db)->Execute("BEGIN");
    if (status.ok()) {
      status = read(**db);
      absl::Status ended = (*db)->Execute("COMMIT");
      if (status.ok()) status = ended;
    }
    GiveBackReader(*std::move(db));
    return status;
  }

  const std::string& database_id() const { return database_id_; }
  int schema_version() const { return schema_version_; }

 private:
  Store(std::string path, std::string vfs) : path_(std::move(path)), vfs_(std::move(vfs)) {}
  absl::StatusOr<std::unique_ptr<Connection>> TakeReader() ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBackReader(std::unique_ptr<Connection> db) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string path_;
  const std::string vfs_;
  std::string database_id_;
  int schema_version_ = 0;
  std::unique_ptr<Writer> writer_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Connection>> readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
