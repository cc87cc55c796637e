// SPDX-License-Identifier: Apache-2.0
// What the daemon's tests share: a temporary folder, a clock that only moves when advanced, a store
// in a folder, small jobs.
#pragma once

#include <stdlib.h>

#include <atomic>
#include <climits>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "proto/base/time.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "server/ledger/transition.h"
#include "server/metrics/compaction.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/store.h"
#include "tests/temp_dir.h"

namespace trainerd::server {

// Thread-safe; begins at a round moment.
class FakeClock {
 public:
  absl::Time Now() const { return absl::FromUnixMicros(micros_); }
  void Advance(absl::Duration duration) { micros_ += absl::ToInt64Microseconds(duration); }
  std::function<absl::Time()> Function() {
    return [this] { return Now(); };
  }

 private:
  std::atomic<int64_t> micros_{1'800'000'000'000'000};
};

#define ASSERT_OK(expression)                                 \
  do {                                                        \
    const absl::Status status_under_test = (expression);      \
    ASSERT_TRUE(status_under_test.ok()) << status_under_test; \
  } while (false)
#define EXPECT_OK(expression)                                 \
  do {                                                        \
    const absl::Status status_under_test = (expression);      \
    EXPECT_TRUE(status_under_test.ok()) << status_under_test; \
  } while (false)

// Every event that was committed, in order.
struct EventRecorder {
  absl::Mutex mutex;
  std::vector<EventRecord> records;
  Writer::Listener Listener() {
    return [this](const std::vector<EventRecord>& events) {
      absl::MutexLock lock(&mutex);
      records.insert(records.end(), events.begin(), events.end());
    };
  }
  std::vector<v1::Event> Events() {
    absl::MutexLock lock(&mutex);
    std::vector<v1::Event> events;
    for (const EventRecord& record : records) {
      EXPECT_TRUE(events.emplace_back().ParseFromString(*record.bytes));
    }
    return events;
  }
};

// A resolved configuration from YAML; model and data name files that need not exist unless a test
// submits it.
inline v1::JobConfig MakeConfig(const std::string& yaml_rest = "") {
  v1::JobConfig config;
  const std::string yaml = "model: {path: /m}\ndata: {train: [/d.jsonl]}\n" + yaml_rest;
  YamlResult result = YamlToMessage(yaml, &config);
  for (const ConfigViolation& v : result.violations) ADD_FAILURE() << v.path << ": " << v.message;
  std::vector<ConfigViolation> violations;
  v1::ResolvedJobConfig resolved =
      ResolveJobConfig(config, {.now = absl::FromUnixSeconds(1'800'000'000)}, &violations);
  for (const ConfigViolation& v : violations) ADD_FAILURE() << v.path << ": " << v.message;
  return resolved.config();
}

// A queued job under this id, stored.
inline JobRecord AddJob(Store& store, const std::string& id, const std::string& run_dir,
                        const std::string& yaml_rest = "") {
  JobRecord record;
  record.job.set_name(JobName(id));
  record.job.set_run_dir(run_dir);
  *record.job.mutable_config() = MakeConfig(yaml_rest);
  absl::Status stored = store.Change([&](Transaction& t) {
    *record.job.mutable_create_time() = ToProto(t.now());
    return ApplyTransition(t,
                           {.to = v1::Job::QUEUED,
                            .desired_state = v1::Job::DESIRED_RUN,
                            .wait_reason = v1::Job::RESOURCES,
                            .reason = "submitted",
                            .actor = "user"},
                           &record);
  });
  EXPECT_TRUE(stored.ok()) << stored;
  return record;
}

inline JobRecord Load(Store& store, const std::string& id) {
  JobRecord record;
  absl::Status read = store.Read([&](Connection& db) -> absl::Status {
    absl::StatusOr<JobRecord> loaded = LoadJob(db, id);
    if (!loaded.ok()) return loaded.status();
    record = *loaded;
    return absl::OkStatus();
  });
  EXPECT_TRUE(read.ok()) << read;
  return record;
}

// Keeps the metrics of every job as columns, as the daemon does in the background.
inline void CompactAllMetrics(Store& store) {
  std::vector<int64_t> jobs;
  EXPECT_OK(store.Read([&](Connection& db) -> absl::Status {
    const auto found = ListIncompleteMetrics(db, 0, INT_MAX);
    if (found.ok()) jobs = found->job_numbers;
    return found.status();
  }));
  while (!jobs.empty()) {
    const auto more = CompactMetrics(store, jobs);
    EXPECT_OK(more.status());
    jobs = more.ok() ? *more : std::vector<int64_t>();
  }
}

template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

}  // namespace trainerd::server
