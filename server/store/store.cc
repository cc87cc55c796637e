// SPDX-License-Identifier: Apache-2.0
#include "server/store/store.h"

#include <utility>

#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/store/rows/event_rows.h"
#include "server/store/schema.h"
#include "server/store/steady_clock.h"

namespace trainerd::server {
namespace {

// Idle connections that are kept. When more are needed at once, further ones are opened.
constexpr size_t kMaxIdleReaders = 8;

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> db,
                   Connection::Open(options.path, {.vfs = options.vfs}));
  std::unique_ptr<Store> store(new Store(options.path, options.vfs));
  ASSIGN_OR_RETURN(store->schema_version_, Migrate(*db, options.path, Migrations()));
  ASSIGN_OR_RETURN(store->database_id_, DatabaseId(*db));
  ASSIGN_OR_RETURN(const int64_t last_seq, LastSeq(*db));
  store->steady_clock_ = std::move(options.steady_clock);
  if (!store->steady_clock_) {
    ASSIGN_OR_RETURN(const SteadyClock clock, SteadyClock::Open(*db, BootId(), options.clock()));
    store->steady_clock_ = [clock] { return clock.Now(); };
  }
  store->clock_ = std::move(options.clock);
  JobIndex* const index = &store->job_index_;
  db->OnRowChange([index](std::string_view table, int64_t row) {
    if (table == "jobs") index->Note(row);
  });
  store->writer_ = std::make_unique<Writer>(
      std::move(db), last_seq + 1,
      Writer::Hooks{.listener = std::move(options.listener),
                    .before_end = std::move(options.before_end),
                    .after_group = [index] { index->EndGroup(); }},
      Writer::Clocks{.system = store->clock_, .steady = store->steady_clock_});
  // A file system of a test gets no calls that the test did not cause.
  if (!store->vfs_.empty()) return store;
  store->index_thread_ = std::thread([self = store.get()] {
    while (self->job_index_.AwaitChanges()) {
      // An error is that of the next list.
      self->Read([&](Connection& reader) {
            return self->job_index_.Search(reader,
                                           [](const IndexedJobs&) { return absl::OkStatus(); });
          })
          .IgnoreError();
    }
  });
  return store;
}

Store::~Store() {
  job_index_.Stop();
  if (index_thread_.joinable()) index_thread_.join();
}

absl::StatusOr<std::unique_ptr<Connection>> Store::BeginRead() {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> db, TakeReader());
  RETURN_IF_ERROR(Query(*db, "BEGIN").Run());
  return db;
}

absl::Status Store::EndRead(std::unique_ptr<Connection> db) {
  RETURN_IF_ERROR(Query(*db, "COMMIT").Run());
  ReturnReader(std::move(db));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Connection>> Store::TakeReader() {
  {
    absl::MutexLock lock(&mutex_);
    if (!readers_.empty()) {
      std::unique_ptr<Connection> db = std::move(readers_.back());
      readers_.pop_back();
      return db;
    }
  }
  return Connection::Open(path_, {.read_only = true, .vfs = vfs_});
}

void Store::ReturnReader(std::unique_ptr<Connection> db) {
  absl::MutexLock lock(&mutex_);
  if (readers_.size() < kMaxIdleReaders) readers_.push_back(std::move(db));
}

}  // namespace trainerd::server
