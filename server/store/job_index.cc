// SPDX-License-Identifier: Apache-2.0
#include "server/store/job_index.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

// All of the index jobs_listed.
#define TRAINERD_INDEXED_COLUMNS "number, state, create_time, end_time, priority, name, owner"

void AppendText(std::string_view text, IndexedJob* job) {
  job->text.append(text);
  job->text.push_back('\0');
}

// The first job whose number is at least `number`.
template <typename Jobs>
auto LowerBound(Jobs& jobs, int64_t number) {
  return std::lower_bound(jobs.begin(), jobs.end(), number,
                          [](const IndexedJob& job, int64_t value) { return job.number < value; });
}

absl::Status ReadLabels(Connection& db, IndexedJob* job) {
  Query query(db, "SELECT key, value FROM job_labels WHERE number = ?");
  query.Bind(job->number);
  while (query.Step()) {
    AppendText(query.Text(0), job);
    AppendText(query.Text(1), job);
  }
  return query.status();
}

void Put(IndexedJob job, std::vector<IndexedJob>* jobs) {
  // A new job has the highest number.
  if (jobs->empty() || jobs->back().number < job.number) return jobs->push_back(std::move(job));
  const auto at = LowerBound(*jobs, job.number);
  if (at != jobs->end() && at->number == job.number) {
    *at = std::move(job);
  } else {
    jobs->insert(at, std::move(job));
  }
}

}  // namespace

std::optional<std::string_view> IndexedJob::Label(std::string_view key) const {
  std::string_view rest = std::string_view(text).substr(name_bytes + 1);
  while (!rest.empty()) {
    const size_t key_end = rest.find('\0');
    const size_t value_end = rest.find('\0', key_end + 1);
    if (rest.substr(0, key_end) == key) return rest.substr(key_end + 1, value_end - key_end - 1);
    rest.remove_prefix(value_end + 1);
  }
  return std::nullopt;
}

const IndexedJob* IndexedJobs::Find(int64_t number) const {
  const auto at = LowerBound(jobs, number);
  return at == jobs.end() || at->number != number ? nullptr : &*at;
}

void JobIndex::Note(int64_t number) {
  absl::MutexLock lock(&notes_mutex_);
  // One change often writes one row several times.
  if (noted_.empty() || noted_.back() != number) noted_.push_back(number);
}

void JobIndex::EndGroup() {
  absl::MutexLock lock(&notes_mutex_);
  committed_.insert(noted_.begin(), noted_.end());
  noted_.clear();
}

bool JobIndex::AwaitChanges() {
  absl::MutexLock lock(&notes_mutex_);
  notes_mutex_.Await(absl::Condition(this, &JobIndex::HasManyChanges));
  awaited_changes_ = committed_.size() + kFewChanges;
  return !stopping_;
}

void JobIndex::Stop() {
  absl::MutexLock lock(&notes_mutex_);
  stopping_ = true;
}

absl::Status JobIndex::Refresh(Connection& db) {
  if (!db.in_transaction() || db.has_snapshot()) {
    return absl::FailedPreconditionError(
        "a search through the jobs must be the first read of its transaction");
  }
  // The transaction begins to read after this, so it sees all of these.
  absl::flat_hash_set<int64_t> committed;
  {
    absl::MutexLock lock(&notes_mutex_);
    committed.swap(committed_);
  }
  absl::Status status = Query(db, "SELECT max(number) FROM jobs").Run();
  if (status.ok() && !loaded_) {
    status = LoadAll(db);
  } else if (status.ok()) {
    // Of the others it sees some. They are read again next time.
    absl::flat_hash_set<int64_t> changed = committed;
    {
      absl::MutexLock lock(&notes_mutex_);
      changed.insert(committed_.begin(), committed_.end());
      changed.insert(noted_.begin(), noted_.end());
    }
    std::vector<int64_t> numbers(changed.begin(), changed.end());
    std::sort(numbers.begin(), numbers.end());
    status = LoadChanged(db, numbers);
  }
  absl::MutexLock lock(&notes_mutex_);
  if (status.ok()) {
    awaited_changes_ = kFewChanges;
  } else {
    committed_.insert(committed.begin(), committed.end());
  }
  return status;
}

absl::Status JobIndex::LoadAll(Connection& db) {
  jobs_ = {};
  Query rows(
      db, "SELECT " TRAINERD_INDEXED_COLUMNS " FROM jobs INDEXED BY jobs_listed ORDER BY number");
  while (rows.Step()) jobs_.jobs.push_back(RowOf(rows));
  RETURN_IF_ERROR(rows.status());
  Query labels(db, "SELECT number, key, value FROM job_labels ORDER BY number, key");
  auto job = jobs_.jobs.begin();
  while (labels.Step()) {
    while (job != jobs_.jobs.end() && job->number < labels.Int(0)) ++job;
    if (job == jobs_.jobs.end()) break;
    if (job->number != labels.Int(0)) continue;
    AppendText(labels.Text(1), &*job);
    AppendText(labels.Text(2), &*job);
  }
  RETURN_IF_ERROR(labels.status());
  loaded_ = true;
  return absl::OkStatus();
}

absl::Status JobIndex::LoadChanged(Connection& db, const std::vector<int64_t>& numbers) {
  std::set<int64_t> deleted;
  for (int64_t number : numbers) {
    Query row(db, "SELECT " TRAINERD_INDEXED_COLUMNS
                  " FROM jobs INDEXED BY jobs_listed WHERE number = ?");
    if (row.Bind(number).Step()) {
      IndexedJob job = RowOf(row);
      RETURN_IF_ERROR(ReadLabels(db, &job));
      Put(std::move(job), &jobs_.jobs);
    } else {
      RETURN_IF_ERROR(row.status());
      if (jobs_.Find(number) != nullptr) deleted.insert(number);
    }
  }
  if (deleted.empty()) return absl::OkStatus();
  std::erase_if(jobs_.jobs, [&](const IndexedJob& job) { return deleted.count(job.number) > 0; });
  return absl::OkStatus();
}

IndexedJob JobIndex::RowOf(const Query& query) {
  IndexedJob job{.number = query.Int(0),
                 .create_time = query.Int(2),
                 .end_time = query.Int(3),
                 .priority = static_cast<int32_t>(query.Int(4)),
                 .state = static_cast<v1::Job::State>(query.Int(1))};
  const std::string_view name = query.Text(5);
  job.name_bytes = static_cast<uint32_t>(name.size());
  AppendText(name, &job);
  const std::string_view owner = query.Text(6);
  // A machine has few users.
  const auto known = std::find(jobs_.owners.begin(), jobs_.owners.end(), owner);
  job.owner = static_cast<uint32_t>(known - jobs_.owners.begin());
  if (known == jobs_.owners.end()) jobs_.owners.emplace_back(owner);
  return job;
}

}  // namespace trainerd::server
