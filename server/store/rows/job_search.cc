// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/job_search.h"

#include <algorithm>
#include <bitset>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::server {
namespace {

// Numbers are matched in chunks: a set of bits for each part of the filter, from its index.
constexpr int64_t kChunk = 4096;
using Bits = std::bitset<kChunk>;
// So many numbers of jobs in certain states are read at once. Of more, the next page is near.
constexpr int kFewJobs = 4096;
// So few candidates are looked up one by one.
constexpr size_t kFewCandidates = 128;

int64_t ChunkOf(int64_t number) { return number - number % kChunk; }

// The numbers that match one part of the filter, or do not.
struct NumberSet {
  std::vector<int64_t> numbers;
  bool negated = false;

  Bits In(int64_t first) const {
    Bits bits;
    auto it = std::lower_bound(numbers.begin(), numbers.end(), first);
    for (; it != numbers.end() && *it < first + kChunk; ++it) bits.set(*it - first);
    return negated ? ~bits : bits;
  }
};

// Columns of the index jobs_listed.
struct ListedRow {
  int64_t number = 0;
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  int64_t create_time = 0;
  int64_t end_time = 0;
  int64_t priority = 0;
  // Valid until the next row.
  std::string_view name;
};
using Visit = std::function<void(const ListedRow&)>;

absl::Status ScanListed(Connection& db, int64_t begin, int64_t end, const Visit& visit) {
  Query query(db,
              "SELECT number, state, create_time, end_time, priority, name FROM jobs INDEXED BY "
              "jobs_listed WHERE number >= ? AND number < ?");
  query.Bind(begin).Bind(end);
  while (query.Step()) {
    visit({.number = query.Int(0),
           .state = static_cast<v1::Job::State>(query.Int(1)),
           .create_time = query.Int(2),
           .end_time = query.Int(3),
           .priority = query.Int(4),
           .name = query.Text(5)});
  }
  return query.status();
}

absl::Status AddNumbers(Query& query, std::vector<int64_t>* numbers) {
  while (query.Step()) numbers->push_back(query.Int(0));
  return query.status();
}

// nullopt: there are more than kFewJobs.
absl::StatusOr<std::optional<NumberSet>> JobsInStates(Connection& db,
                                                      const std::vector<v1::Job::State>& states) {
  NumberSet set;
  for (v1::Job::State state : states) {
    Query query(db, "SELECT number FROM jobs WHERE state = ? LIMIT ?");
    query.Bind(state).Bind(kFewJobs + 1);
    RETURN_IF_ERROR(AddNumbers(query, &set.numbers));
    if (set.numbers.size() > kFewJobs) return std::nullopt;
  }
  std::sort(set.numbers.begin(), set.numbers.end());
  return set;
}

// nullopt: more than kFewJobs have the key.
absl::StatusOr<std::optional<NumberSet>> JobsWithKey(Connection& db,
                                                     const LabelRequirement& requirement) {
  NumberSet set{.negated = requirement.kind == LabelRequirement::Kind::kAbsent};
  Query query(db, "SELECT number FROM job_labels WHERE key = ? LIMIT ?");
  query.Bind(requirement.key).Bind(kFewJobs + 1);
  RETURN_IF_ERROR(AddNumbers(query, &set.numbers));
  if (set.numbers.size() > kFewJobs) return std::nullopt;
  std::sort(set.numbers.begin(), set.numbers.end());
  return set;
}

absl::StatusOr<NumberSet> JobsFrom(Connection& db, const std::string& base) {
  NumberSet set;
  Query query(db, "SELECT number FROM jobs WHERE base_job = ? AND base_job != ''");
  query.Bind(JobId(base));
  RETURN_IF_ERROR(AddNumbers(query, &set.numbers));
  std::sort(set.numbers.begin(), set.numbers.end());
  return set;
}

class Matcher {
 public:
  Matcher(Connection& db, const JobFilter& filter) : db_(db), filter_(filter) {}

  absl::Status Prepare() {
    by_columns_ = !filter_.name.empty() || filter_.created_after != absl::InfinitePast() ||
                  filter_.created_before != absl::InfiniteFuture();
    if (!filter_.states.empty()) {
      ASSIGN_OR_RETURN(std::optional<NumberSet> set, JobsInStates(db_, filter_.states));
      if (set.has_value()) sets_.push_back(*std::move(set));
      states_by_column_ = !set.has_value();
    }
    if (!filter_.base.empty()) {
      ASSIGN_OR_RETURN(NumberSet set, JobsFrom(db_, filter_.base));
      sets_.push_back(std::move(set));
    }
    for (const LabelRequirement& requirement : filter_.labels.requirements) {
      if (!requirement.values.empty()) continue;
      ASSIGN_OR_RETURN(std::optional<NumberSet> set, JobsWithKey(db_, requirement));
      if (set.has_value()) {
        sets_.push_back(*std::move(set));
      } else {
        common_keys_.push_back(&requirement);
      }
    }
    by_columns_ |= states_by_column_;
    return absl::OkStatus();
  }

  // Whether all jobs match.
  bool trivial() const {
    return !by_columns_ && sets_.empty() && filter_.labels.requirements.empty();
  }

  // The jobs of the chunk that match.
  absl::StatusOr<Bits> Match(int64_t first) {
    ASSIGN_OR_RETURN(Bits bits, Candidates(first));
    if (!by_columns_ && AllExist()) return bits;
    Bits matching;
    RETURN_IF_ERROR(ScanCandidates(
        first, bits, [&](const ListedRow& row) { matching.set(row.number - first); }));
    return matching;
  }

  // Calls `visit` for each job of the chunk that matches.
  absl::Status ForEach(int64_t first, const Visit& visit) {
    ASSIGN_OR_RETURN(const Bits bits, Candidates(first));
    return ScanCandidates(first, bits, visit);
  }

 private:
  // By what has an index of its own. Numbers that no job has any more can be among them.
  absl::StatusOr<Bits> Candidates(int64_t first) {
    Bits bits;
    bits.set();
    for (const NumberSet& set : sets_) {
      bits &= set.In(first);
      if (bits.none()) return bits;
    }
    for (const LabelRequirement* requirement : common_keys_) {
      ASSIGN_OR_RETURN(const Bits keys, WithKey(requirement->key, first));
      bits &= requirement->kind == LabelRequirement::Kind::kAbsent ? ~keys : keys;
      if (bits.none()) return bits;
    }
    for (const LabelRequirement& requirement : filter_.labels.requirements) {
      if (requirement.values.empty()) continue;
      ASSIGN_OR_RETURN(const Bits values, WithValue(requirement, first));
      bits &= requirement.kind == LabelRequirement::Kind::kNotIn ? ~values : values;
      if (bits.none()) return bits;
    }
    return bits;
  }

  // Reads the labels of the chunk's jobs, and no others.
  absl::StatusOr<Bits> WithKey(const std::string& key, int64_t first) {
    Query query(db_, "SELECT number FROM job_labels WHERE number >= ? AND number < ? AND +key = ?");
    query.Bind(first).Bind(first + kChunk).Bind(key);
    Bits bits;
    while (query.Step()) bits.set(query.Int(0) - first);
    RETURN_IF_ERROR(query.status());
    return bits;
  }

  absl::StatusOr<Bits> WithValue(const LabelRequirement& requirement, int64_t first) {
    Bits bits;
    for (const std::string& value : requirement.values) {
      Query query(db_,
                  "SELECT number FROM job_labels WHERE key = ? AND value = ? AND number >= ? AND "
                  "number < ?");
      query.Bind(requirement.key).Bind(value).Bind(first).Bind(first + kChunk);
      while (query.Step()) bits.set(query.Int(0) - first);
      RETURN_IF_ERROR(query.status());
    }
    return bits;
  }

  // Whether the candidates come from rows of existing jobs.
  bool AllExist() const {
    return std::any_of(sets_.begin(), sets_.end(),
                       [](const NumberSet& set) { return !set.negated; }) ||
           std::any_of(common_keys_.begin(), common_keys_.end(),
                       [](const LabelRequirement* requirement) {
                         return requirement->kind != LabelRequirement::Kind::kAbsent;
                       }) ||
           std::any_of(filter_.labels.requirements.begin(), filter_.labels.requirements.end(),
                       [](const LabelRequirement& requirement) {
                         return requirement.kind == LabelRequirement::Kind::kIn;
                       });
  }

  absl::Status ScanCandidates(int64_t first, const Bits& bits, const Visit& visit) {
    auto check = [&](const ListedRow& row) {
      if (bits[row.number - first] && MatchesColumns(row)) visit(row);
    };
    if (bits.none()) return absl::OkStatus();
    if (bits.count() > kFewCandidates) return ScanListed(db_, first, first + kChunk, check);
    for (size_t i = bits._Find_first(); i < bits.size(); i = bits._Find_next(i)) {
      const int64_t number = first + static_cast<int64_t>(i);
      RETURN_IF_ERROR(ScanListed(db_, number, number + 1, check));
    }
    return absl::OkStatus();
  }

  bool MatchesColumns(const ListedRow& row) const {
    if (states_by_column_ &&
        std::find(filter_.states.begin(), filter_.states.end(), row.state) == filter_.states.end())
      return false;
    if (row.create_time < absl::ToUnixMicros(filter_.created_after) ||
        row.create_time >= absl::ToUnixMicros(filter_.created_before))
      return false;
    if (filter_.name.empty()) return true;
    const std::string_view name =
        filter_.name_prefix ? row.name.substr(0, filter_.name.size()) : row.name;
    return name == filter_.name;
  }

  Connection& db_;
  const JobFilter& filter_;
  std::vector<NumberSet> sets_;
  // Requirements about keys that many jobs have: chunk by chunk.
  std::vector<const LabelRequirement*> common_keys_;
  bool states_by_column_ = false;
  // MatchesColumns decides.
  bool by_columns_ = false;
};

// The next job in this direction; 0 = none.
absl::StatusOr<int64_t> NextNumber(Connection& db, int64_t after, bool descending) {
  const char* const older = "SELECT max(number) FROM jobs WHERE number < ?";
  const char* const newer = "SELECT min(number) FROM jobs WHERE number > ?";
  Query query(db, descending ? older : newer);
  const bool row = query.Bind(after).Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<std::vector<JobPosition>> FindAll(Connection& db, const JobQuery& query) {
  const char* const older =
      "SELECT number FROM jobs INDEXED BY jobs_listed WHERE number < ? ORDER BY number DESC LIMIT "
      "?";
  const char* const newer =
      "SELECT number FROM jobs INDEXED BY jobs_listed WHERE number > ? ORDER BY number LIMIT ?";
  const bool from_newest = query.descending && query.after.number == 0;
  Query rows(db, query.descending ? older : newer);
  rows.Bind(from_newest ? INT64_MAX : query.after.number).Bind(query.limit);
  std::vector<JobPosition> found;
  while (rows.Step()) found.push_back({.number = rows.Int(0)});
  RETURN_IF_ERROR(rows.status());
  return found;
}

absl::StatusOr<std::vector<JobPosition>> FindByNumber(Connection& db, const JobQuery& query,
                                                      Matcher& matcher) {
  std::vector<JobPosition> found;
  int64_t after = query.after.number;
  if (after == 0 && query.descending) after = INT64_MAX;
  const size_t limit = static_cast<size_t>(query.limit);
  while (found.size() < limit) {
    ASSIGN_OR_RETURN(int64_t number, NextNumber(db, after, query.descending));
    if (number == 0) break;
    const int64_t first = ChunkOf(number);
    ASSIGN_OR_RETURN(const Bits bits, matcher.Match(first));
    while (number >= first && number < first + kChunk && found.size() < limit) {
      if (bits[number - first]) found.push_back({.number = number});
      number += query.descending ? -1 : 1;
    }
    after = query.descending ? first : first + kChunk - 1;
  }
  return found;
}

JobPosition PositionOf(const ListedRow& row, JobOrder order) {
  JobPosition position{.number = row.number};
  if (order == JobOrder::kEnded) position.value = row.end_time;
  if (order == JobOrder::kPriority) position.value = row.priority;
  if (order == JobOrder::kName) position.name = row.name;
  return position;
}

absl::StatusOr<std::vector<JobPosition>> FindByValue(Connection& db, const JobQuery& query,
                                                     Matcher& matcher) {
  auto comes_before = [&](const JobPosition& a, const JobPosition& b) {
    return query.descending ? a > b : a < b;
  };
  // A heap; its front is the last of the list so far.
  std::vector<JobPosition> found;
  auto add = [&](const ListedRow& row) {
    JobPosition position = PositionOf(row, query.order);
    if (query.after.number != 0 && !comes_before(query.after, position)) return;
    if (found.size() == static_cast<size_t>(query.limit)) {
      if (!comes_before(position, found.front())) return;
      std::pop_heap(found.begin(), found.end(), comes_before);
      found.pop_back();
    }
    found.push_back(std::move(position));
    std::push_heap(found.begin(), found.end(), comes_before);
  };
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const int64_t number, NextNumber(db, after, /*descending=*/false));
    if (number == 0) break;
    RETURN_IF_ERROR(matcher.ForEach(ChunkOf(number), add));
    after = ChunkOf(number) + kChunk - 1;
  }
  std::sort_heap(found.begin(), found.end(), comes_before);
  return found;
}

// Behind every priority.
constexpr int64_t kCannotStart = 1000;

absl::StatusOr<std::vector<JobPosition>> ReadQueue(Connection& db) {
  std::vector<JobPosition> queue;
  // The numbers are those of store/schema/0009_scheduling.sql.
  Query starting(db,
                 "SELECT number, priority, queue_order FROM jobs INDEXED BY jobs_queue WHERE state "
                 "= 1 AND deleting = 0 AND wait_reason NOT IN (3, 7, 8, 9)");
  while (starting.Step()) {
    queue.push_back(
        {.number = starting.Int(0), .value = -starting.Int(1), .order = starting.Int(2)});
  }
  RETURN_IF_ERROR(starting.status());
  Query waiting(db,
                "SELECT number FROM jobs INDEXED BY jobs_waiting WHERE state = 1 AND deleting = 0 "
                "AND wait_reason IN (3, 7, 8, 9)");
  while (waiting.Step()) queue.push_back({.number = waiting.Int(0), .value = kCannotStart});
  RETURN_IF_ERROR(waiting.status());
  return queue;
}

absl::StatusOr<std::vector<JobPosition>> FindInQueue(Connection& db, const JobQuery& query,
                                                     Matcher& matcher) {
  ASSIGN_OR_RETURN(std::vector<JobPosition> queue, ReadQueue(db));
  auto comes_before = [&](const JobPosition& a, const JobPosition& b) {
    return query.descending ? a > b : a < b;
  };
  std::sort(queue.begin(), queue.end(), comes_before);
  std::map<int64_t, Bits> chunks;
  std::vector<JobPosition> found;
  for (JobPosition& position : queue) {
    if (found.size() == static_cast<size_t>(query.limit)) break;
    if (query.after.number != 0 && !comes_before(query.after, position)) continue;
    const int64_t first = ChunkOf(position.number);
    if (!matcher.trivial() && chunks.count(first) == 0) {
      ASSIGN_OR_RETURN(chunks[first], matcher.Match(first));
    }
    if (matcher.trivial() || chunks[first][position.number - first])
      found.push_back(std::move(position));
  }
  return found;
}

}  // namespace

absl::StatusOr<std::vector<JobPosition>> FindJobs(Connection& db, const JobQuery& query) {
  Matcher matcher(db, query.filter);
  RETURN_IF_ERROR(matcher.Prepare());
  if (query.order == JobOrder::kQueue) return FindInQueue(db, query, matcher);
  if (query.order != JobOrder::kCreated) return FindByValue(db, query, matcher);
  return matcher.trivial() ? FindAll(db, query) : FindByNumber(db, query, matcher);
}

bool MatchesBase(const v1::Job& job, const std::string& base) {
  return base.empty() || job.base() == base ||
         (CheckpointId(base).empty() && absl::StartsWith(job.base(), base + "/"));
}

}  // namespace trainerd::server
