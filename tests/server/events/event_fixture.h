// SPDX-License-Identifier: Apache-2.0
// Makes event records without a database, and a log of them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/events/event_log.h"
#include "server/events/watch.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

inline v1::Event MetricsEvent(const std::string& job, int64_t step, int attempt = 1) {
  v1::Event event;
  event.set_job(job);
  event.set_attempt(attempt);
  event.mutable_metrics()->set_step(step);
  event.mutable_metrics()->set_loss(1.0 / static_cast<double>(step));
  event.mutable_metrics()->set_tokens(10);
  event.mutable_metrics()->set_target_tokens(4);
  return event;
}

inline v1::Event StateEvent(const std::string& job, v1::Job::State to) {
  v1::Event event;
  event.set_job(job);
  event.mutable_state_changed()->set_to_state(to);
  return event;
}

// A log without a database: `all` keeps every event, as the database would.
class LogFixture {
 public:
  explicit LogFixture(EventLog::Limits limits = {}) : log(limits) {
    log.Start(0, [this](const std::string& job, int64_t after, int limit) {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(&database_answers));
      std::vector<EventRecord> result;
      for (const EventRecord& record : all) {
        if (record.seq <= after || (!job.empty() && record.job != job)) continue;
        const bool new_change = result.empty() || result.back().change != record.change;
        if (new_change && static_cast<int>(result.size()) >= limit) break;
        result.push_back(record);
      }
      ++old_reads;
      return absl::StatusOr<std::vector<EventRecord>>(result);
    });
  }
  // One change of these events.
  void Publish(std::vector<v1::Event> events, int flags = 0) {
    std::vector<EventRecord> records;
    {
      absl::MutexLock lock(&mutex);
      const int64_t change = static_cast<int64_t>(all.size()) + 1;
      for (v1::Event& event : events) {
        event.set_seq(static_cast<int64_t>(all.size()) + 1);
        records.push_back(
            {.seq = event.seq(),
             .change = change,
             .job = event.job(),
             .type = EventType(event),
             .flags = flags,
             .bytes = std::make_shared<const std::string>(event.SerializeAsString())});
        all.push_back(records.back());
      }
    }
    log.Publish(records);
  }
  // False: reads of the database block.
  void SetDatabaseAnswers(bool answers) {
    absl::MutexLock lock(&mutex);
    database_answers = answers;
  }

  int OldReads() {
    absl::MutexLock lock(&mutex);
    return old_reads;
  }

  absl::Mutex mutex;
  // Guarded by mutex while readers run.
  std::vector<EventRecord> all;
  int old_reads ABSL_GUARDED_BY(mutex) = 0;
  bool database_answers ABSL_GUARDED_BY(mutex) = true;
  EventLog log;
};

inline v1::StreamStatusResponse Parse(const Bytes& bytes) {
  v1::StreamStatusResponse response;
  EXPECT_TRUE(bytes != nullptr && response.ParseFromString(*bytes));
  return response;
}

inline uint64_t Bit(int field) { return uint64_t{1} << field; }

}  // namespace trainerd::server
