// SPDX-License-Identifier: Apache-2.0
// The database of one daemon: one writer thread for changes, a few read-only connections for reads.
// A change that was acknowledged survives kill -9 and a power cut.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/store/job_index.h"
#include "server/store/sqlite.h"
#include "server/store/writer.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Store {
 public:
  struct Options {
    // The database file.
    std::string path;
    // For tests.
    std::string vfs;
    Writer::Listener listener = [](const std::vector<EventRecord>&) {};
    // Null = nothing.
    Writer::BeforeEnd before_end;
    Writer::Clock clock = [] { return absl::Now(); };
    // For tests. Empty: SteadyClock.
    Writer::Clock steady_clock;
  };
  // Opens or creates the database and migrates it to the newest schema. Errors: of
  // Connection::Open and Migrate.
  static absl::StatusOr<std::unique_ptr<Store>> Open(Options options);

  ~Store();

  // Runs a change and returns once it is durable. Errors: of Writer::Run.
  absl::Status Change(Writer::Change change) { return writer_->Run(std::move(change)); }

  // Runs `read` in one read transaction, so that everything that it reads is of one moment.
  // Returns what `read` returns, an absl::StatusOr<T> or an absl::Status, or the error of the
  // transaction.
  template <typename Function>
  auto Read(Function read) -> std::invoke_result_t<Function, Connection&> {
    absl::StatusOr<std::unique_ptr<Connection>> db = BeginRead();
    if (!db.ok()) return db.status();
    std::invoke_result_t<Function, Connection&> result = read(**db);
    absl::Status ended = EndRead(*std::move(db));
    if (result.ok() && !ended.ok()) return ended;
    return result;
  }

  // For lists: JobIndex::Search, as the first read of a transaction.
  JobIndex& job_index() { return job_index_; }

  // The system's clock, for times that users name.
  absl::Time Now() const { return clock_(); }
  // The clock of deadlines, see server/store/steady_clock.h.
  absl::Time SteadyNow() const { return steady_clock_(); }

  const std::string& database_id() const { return database_id_; }
  int schema_version() const { return schema_version_; }

 private:
  Store(std::string path, std::string vfs) : path_(std::move(path)), vfs_(std::move(vfs)) {}
  absl::StatusOr<std::unique_ptr<Connection>> BeginRead();
  absl::Status EndRead(std::unique_ptr<Connection> db);
  absl::StatusOr<std::unique_ptr<Connection>> TakeReader() ABSL_LOCKS_EXCLUDED(mutex_);
  void ReturnReader(std::unique_ptr<Connection> db) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string path_;
  const std::string vfs_;
  std::string database_id_;
  int schema_version_ = 0;
  Writer::Clock clock_;
  Writer::Clock steady_clock_;
  JobIndex job_index_;
  std::unique_ptr<Writer> writer_;
  // Reads changes into the index when there are many, so that no list waits for that.
  std::thread index_thread_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Connection>> readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
