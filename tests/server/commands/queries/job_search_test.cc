// SPDX-License-Identifier: Apache-2.0
// Every filter and order against a search through all jobs.
#include "server/commands/queries/job_search.h"

#include <algorithm>
#include <map>
#include <optional>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/store/rows/label_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

// What the columns of a job hold.
struct Row {
  int64_t number;
  int state;
  int64_t create_time, end_time, priority;
  std::string name, base_job;
  std::map<std::string, std::string> labels;
};

// Numbers in three chunks, with gaps of deleted jobs, one of them a whole chunk.
class JobSearchTest : public ::testing::Test {
 protected:
  JobSearchTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    std::mt19937 random(7);
    const auto pick = [&](int limit) { return static_cast<int>(random() % limit); };
    int64_t number = 1;
    for (int i = 0; i < 6000; ++i) {
      number += pick(8) == 0 ? 2 : 1;
      if (i == 3000) number += 9000;
      // Newer jobs have mostly, but not always, a later time.
      Row row{.number = number,
              .state = pick(50) == 0 ? v1::Job::RUNNING : v1::Job::SUCCEEDED,
              .create_time = 1000 * i - pick(5000) + 5000,
              .priority = pick(5) - 2,
              .name = absl::StrCat(pick(2) == 0 ? "run" : "eval", "-", pick(40)),
              .base_job = pick(100) == 0 ? "parent" : ""};
      if (row.state == v1::Job::SUCCEEDED) row.end_time = row.create_time + pick(100);
      if (pick(3) == 0) row.labels["team"] = absl::StrCat("t", pick(4));
      if (pick(500) == 0) row.labels["rare"] = "yes";
      // More jobs have it than are read at once.
      if (pick(10) != 0) row.labels["common"] = absl::StrCat(pick(2));
      rows_.push_back(std::move(row));
    }
    EXPECT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      for (const Row& row : rows_) EXPECT_OK(Insert(t.db(), row));
      return absl::OkStatus();
    }));
  }

  static absl::Status Insert(Connection& db, const Row& row) {
    Query query(db,
                "INSERT INTO jobs (number, id, state, wait_reason, priority, not_before, device, "
                "deleting, revision, end_time, output_path, base_job, job, progress, ledger, name, "
                "create_time) VALUES (?1, 'j' || ?1, ?2, 0, ?3, 0, 'auto', 0, 1, ?4, '', ?5, x'', "
                "x'', x'', ?6, ?7)");
    query.Bind(row.number).Bind(row.state).Bind(row.priority).Bind(row.end_time);
    const absl::Status stored = query.Bind(row.base_job).Bind(row.name).Bind(row.create_time).Run();
    if (!stored.ok()) return stored;
    return StoreLabels(db, row.number, LabelMap(row.labels.begin(), row.labels.end()));
  }

  static bool Matches(const Row& row, const JobFilter& filter) {
    const bool state = filter.states.empty() ||
                       std::count(filter.states.begin(), filter.states.end(), row.state) > 0;
    const bool name =
        filter.name.empty() ||
        (filter.name_prefix ? absl::StartsWith(row.name, filter.name) : row.name == filter.name);
    return state && name && (filter.base.empty() || row.base_job == JobId(filter.base)) &&
           row.create_time >= absl::ToUnixMicros(filter.created_after) &&
           row.create_time < absl::ToUnixMicros(filter.created_before) &&
           filter.labels.Matches(LabelMap(row.labels.begin(), row.labels.end()));
  }

  std::vector<int64_t> Expected(const JobQuery& query) const {
    std::vector<Row> found;
    for (const Row& row : rows_) {
      if (Matches(row, query.filter)) found.push_back(row);
    }
    const auto key = [&](const Row& row) {
      const int64_t value = query.order == JobOrder::kEnded      ? row.end_time
                            : query.order == JobOrder::kPriority ? row.priority
                                                                 : 0;
      return std::tuple(value, query.order == JobOrder::kName ? row.name : "", row.number);
    };
    std::sort(found.begin(), found.end(), [&](const Row& a, const Row& b) {
      return query.descending ? key(a) > key(b) : key(a) < key(b);
    });
    std::vector<int64_t> numbers;
    for (const Row& row : found) numbers.push_back(row.number);
    return numbers;
  }

  // All pages.
  std::vector<int64_t> Found(JobQuery query) {
    std::vector<int64_t> numbers;
    while (true) {
      const auto page =
          store_->Read([&](Connection& db) { return FindJobs(store_->job_index(), db, query); });
      EXPECT_OK(page.status());
      if (!page.ok() || page->empty()) return numbers;
      for (const JobPosition& position : *page) numbers.push_back(position.number);
      if (static_cast<int>(page->size()) < query.limit) return numbers;
      query.after = page->back();
    }
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::vector<Row> rows_;
};

TEST_F(JobSearchTest, EveryFilterAndOrderFindsWhatASearchThroughAllFinds) {
  const std::vector<std::vector<v1::Job::State>> states = {{},
                                                           {v1::Job::RUNNING},
                                                           {v1::Job::SUCCEEDED},
                                                           {v1::Job::RUNNING, v1::Job::SUCCEEDED},
                                                           {v1::Job::PAUSED}};
  const std::vector<std::string> selectors = {"",
                                              "team = t1",
                                              "team != t1",
                                              "team in (t1, t2, none)",
                                              "team notin (t1, t2)",
                                              "team",
                                              "!team",
                                              "rare",
                                              "rare, team",
                                              "rare = yes, !team",
                                              "rare = yes, team = t1",
                                              "none = x",
                                              "!none",
                                              "common",
                                              "!common",
                                              "common, team = t1",
                                              "rare, !common",
                                              "common, common != 1",
                                              "team = t1, team = t2"};
  const std::vector<std::pair<std::string, bool>> names = {
      {"", false}, {"run-7", false}, {"run", true}, {"run-", true}, {"none", false}};
  std::mt19937 random(11);
  int nonempty = 0;
  for (int round = 0; round < 400; ++round) {
    JobQuery query;
    const std::string& selector = selectors[random() % selectors.size()];
    query.filter.labels = *ParseLabelSelector(selector);
    query.filter.states = states[random() % states.size()];
    const auto& [name, prefix] = names[random() % 2 == 0 ? 0 : random() % names.size()];
    query.filter.name = name;
    query.filter.name_prefix = prefix;
    if (random() % 8 == 0) query.filter.base = "jobs/parent";
    if (random() % 4 == 0) query.filter.created_after = absl::FromUnixMicros(1'000'000);
    if (random() % 4 == 0) query.filter.created_before = absl::FromUnixMicros(4'000'000);
    query.order = static_cast<JobOrder>(random() % 4);
    query.descending = random() % 2 == 0;
    const std::vector<int64_t> expected = Expected(query);
    query.limit = expected.size() > 500 ? 1000 : 1 + static_cast<int>(random() % 50);
    nonempty += expected.empty() ? 0 : 1;
    EXPECT_EQ(Found(query), expected)
        << selector << "; name " << name << (prefix ? "*" : "") << "; order "
        << static_cast<int>(query.order) << (query.descending ? " desc" : "") << "; states "
        << query.filter.states.size() << "; limit " << query.limit;
    if (HasFailure()) return;
  }
  EXPECT_GT(nonempty, 150);
}

TEST_F(JobSearchTest, BaseIsAJobOrOneOfItsCheckpoints) {
  v1::Job job;
  job.set_base("jobs/a/checkpoints/c1");
  EXPECT_TRUE(MatchesBase(job, ""));
  EXPECT_TRUE(MatchesBase(job, "jobs/a"));
  EXPECT_TRUE(MatchesBase(job, "jobs/a/checkpoints/c1"));
  EXPECT_FALSE(MatchesBase(job, "jobs/a/checkpoints/c"));
  EXPECT_FALSE(MatchesBase(job, "jobs/aa"));
  job.set_base("jobs/aa/checkpoints/c1");
  EXPECT_FALSE(MatchesBase(job, "jobs/a"));
}

}  // namespace
}  // namespace trainerd::server
