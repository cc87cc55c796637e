// SPDX-License-Identifier: Apache-2.0
// UpdateJob with a real store: every live key, every state, what is refused, and what is stored.
#include "server/commands/update_job.h"

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "proto/contract/config/knob_rules.h"
#include "proto/contract/job/job_state.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class UpdateJobTest : public JobManagerTest {
 protected:
  // `yaml` has the values of the configuration, `paths` what changes, without "config.".
  static v1::UpdateJobRequest Change(const std::string& name, const std::string& yaml,
                                     const std::vector<std::string>& paths) {
    v1::UpdateJobRequest request;
    request.mutable_job()->set_name(name);
    const YamlResult read = YamlToMessage(yaml, request.mutable_job()->mutable_config());
    EXPECT_TRUE(read.violations.empty()) << yaml;
    for (const std::string& path : paths)
      request.mutable_update_mask()->add_paths("config." + path);
    return request;
  }
  absl::Status Try(const v1::UpdateJobRequest& request) {
    return jobs_->Update(request, "unix:").status();
  }
  v1::Job Update(const std::string& name, const std::string& yaml, const std::string& path) {
    auto job = jobs_->Update(Change(name, yaml, {path}), "unix:");
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : v1::Job();
  }
  std::vector<std::string> Audit() {
    std::vector<std::string> rows;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db, "SELECT method || ': ' || detail FROM audit ORDER BY seq");
      while (query.Step()) rows.emplace_back(query.Text(0));
      return query.status();
    }));
    return rows;
  }
  int Updates() {
    int count = 0;
    for (const v1::Event& event : recorder_.Events()) count += event.has_job_updated();
    return count;
  }
};

TEST_F(UpdateJobTest, LiveKeysAreThoseOfTheDraft) {
  EXPECT_THAT(LivePaths(),
              ::testing::UnorderedElementsAre(
                  "config.name", "config.labels", "config.priority", "config.not_before",
                  "config.checkpoint.keep_last", "config.checkpoint.keep_every_steps",
                  "config.checkpoint.keep_best", "config.checkpoint.max_bytes",
                  "config.checkpoint.ttl", "config.evaluation.remote", "config.notify",
                  "config.limits.stop_grace", "config.limits.max_run_time",
                  "config.limits.max_attempt_time", "config.retry.max_failures_without_progress"));
}

TEST_F(UpdateJobTest, ChangesEachLiveKeyWithOneEventAndOneAuditRow) {
  const struct {
    const char *path, *yaml;
  } cases[] = {
      {"name", "name: other"},
      {"labels", "labels: {a: b, c: d}"},
      {"priority", "priority: -7"},
      {"not_before", "not_before: 2199-01-01T00:00:00Z"},
      {"checkpoint.keep_last", "checkpoint: {keep_last: 9}"},
      {"checkpoint.keep_every_steps", "checkpoint: {keep_every_steps: 50}"},
      {"checkpoint.keep_best", "checkpoint: {keep_best: 4}"},
      {"checkpoint.max_bytes", "checkpoint: {max_bytes: 200GB}"},
      {"checkpoint.ttl", "checkpoint: {ttl: 72h}"},
      {"evaluation.remote", "evaluation: {remote: [{name: q, suite: s}, {name: r, suite: t}]}"},
      {"limits.stop_grace", "limits: {stop_grace: 7s}"},
      {"limits.max_run_time", "limits: {max_run_time: 2h}"},
      {"limits.max_attempt_time", "limits: {max_attempt_time: 3h}"},
      {"retry.max_failures_without_progress", "retry: {max_failures_without_progress: 0}"}};
  // The integration test notifications_test changes `notify`, which needs a target.
  EXPECT_EQ(std::size(cases) + 1, LivePaths().size());
  for (const auto& [path, yaml] : cases) {
    const v1::Job before = Submit(
        "name: x\nlabels: {z: y}\ncheckpoint: {every_steps: 7}\n"
        "evaluation: {remote: [{name: r, suite: s}], best: {metric: remote.r.acc}}");
    const size_t audit = Audit().size();
    const v1::Job job = Update(before.name(), yaml, path);
    EXPECT_NE(job.etag(), before.etag()) << path;
    const v1::Event event = recorder_.Events()[recorder_.Events().size() -
                                               (job.wait_reason() == before.wait_reason() ? 1 : 2)];
    EXPECT_THAT(event.job_updated().update_mask().paths(),
                ElementsAre(std::string("config.") + path));
    EXPECT_EQ(event.job_updated().actor(), "user");
    ASSERT_EQ(Audit().size(), audit + 1) << path;
    EXPECT_EQ(Audit().back(), std::string("Trainer.UpdateJob: config.") + path);
    // The rest is as it was.
    v1::JobConfig expected = before.config();
    if (std::string(path) == "labels") expected.clear_labels();
    YamlToMessage(yaml, &expected);
    ApplyDefaults(&expected);
    EXPECT_EQ(MessageToYaml(job.config()), MessageToYaml(expected)) << path;
    EXPECT_EQ(job.config_digest(), before.config_digest());
    EXPECT_EQ(MessageToYaml(Load(*store_, JobId(job.name())).job.config()),
              MessageToYaml(expected));
  }
}

TEST_F(UpdateJobTest, ChangesSeveralKeysAtOnce) {
  const v1::Job job = Submit();
  v1::UpdateJobRequest request = Change(job.name(), "priority: 3\nname: new\nlabels: {a: b}",
                                        {"priority", "name", "priority"});
  ASSERT_OK(Try(request));
  const v1::Job stored = Load(*store_, JobId(job.name())).job;
  EXPECT_EQ(stored.config().priority(), 3);
  EXPECT_EQ(stored.config().name(), "new");
  EXPECT_TRUE(stored.config().labels().empty()) << "not in the mask";
  EXPECT_THAT(recorder_.Events().back().job_updated().update_mask().paths(),
              ElementsAre("config.name", "config.priority"));
  EXPECT_EQ(Updates(), 1);
}

TEST_F(UpdateJobTest, NoChangeStoresNothing) {
  const v1::Job before = Submit("priority: 3\nlabels: {a: b}");
  const size_t events = recorder_.Events().size(), audit = Audit().size();
  const auto job = jobs_->Update(
      Change(before.name(), "priority: 3\nlabels: {a: b}", {"priority", "labels"}), "unix:");
  ASSERT_OK(job.status());
  EXPECT_EQ(job->etag(), before.etag());
  EXPECT_EQ(recorder_.Events().size(), events);
  EXPECT_EQ(Audit().size(), audit);
}

TEST_F(UpdateJobTest, AbsentValueSetsTheDefault) {
  const v1::Job before = Submit("priority: 3\nlabels: {a: b}\nlimits: {max_run_time: 2h}");
  const auto job = jobs_->Update(
      Change(before.name(), "", {"priority", "labels", "limits.max_run_time"}), "unix:");
  ASSERT_OK(job.status());
  EXPECT_EQ(job->config().priority(), 0);
  EXPECT_TRUE(job->config().labels().empty());
  EXPECT_EQ(job->config().limits().max_run_time().seconds(), 0);
  for (const std::string& path : job->given()) {
    EXPECT_NE(path, "priority");
    EXPECT_NE(path, "labels.a");
  }
}

TEST_F(UpdateJobTest, UpdatedKeyCountsAsGiven) {
  const v1::Job job = Update(Submit().name(), "labels: {team: x}", "labels");
  EXPECT_EQ(std::count(job.given().begin(), job.given().end(), "labels.team"), 1);
  const v1::Job again = Update(job.name(), "labels: {other: x}", "labels");
  EXPECT_EQ(std::count(again.given().begin(), again.given().end(), "labels.team"), 0);
}

TEST_F(UpdateJobTest, RefusesWhatIsNotLiveAndNamesWhatIs) {
  const std::string name = Submit().name();
  for (const char* path :
       {"config.model.path", "config.train.max_steps", "config.suspended", "config.depends_on",
        "config.limits", "config", "config.", "priority", "*", "", "state", "config.no_such_key",
        "config.labels.team", "config.checkpoint.every_steps", "config.priority "}) {
    v1::UpdateJobRequest request;
    request.mutable_job()->set_name(name);
    request.mutable_update_mask()->add_paths("config.priority");
    request.mutable_update_mask()->add_paths(path);
    const absl::Status status = Try(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << status;
    EXPECT_EQ(Reason(status), "NOT_LIVE") << path;
    EXPECT_EQ(Fields(status), std::vector<std::string>{"update_mask"});
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.limits.max_run_time"));
  }
  v1::UpdateJobRequest empty;
  empty.mutable_job()->set_name(name);
  EXPECT_EQ(Fields(Try(empty)), std::vector<std::string>{"update_mask"});
  EXPECT_EQ(Updates(), 0);
}

TEST_F(UpdateJobTest, RefusesValuesAsASubmitDoes) {
  const v1::Job before = Submit();
  const struct {
    const char *path, *yaml, *field;
  } cases[] = {{"priority", "priority: 101", "priority"},
               {"name", "name: ''", "name"},
               {"labels", "labels: {'a b': x}", "labels.a b"},
               {"checkpoint.keep_last", "checkpoint: {keep_last: 0}", "checkpoint.keep_last"},
               {"limits.stop_grace", "limits: {stop_grace: 0s}", "limits.stop_grace"},
               {"limits.max_run_time", "limits: {max_run_time: -1s}", "limits.max_run_time"},
               {"not_before", "not_before: 9999-01-01T00:00:00Z", "not_before"},
               {"retry.max_failures_without_progress", "retry: {max_failures_without_progress: -1}",
                "retry.max_failures_without_progress"}};
  for (const auto& [path, yaml, field] : cases) {
    const absl::Status status = Try(Change(before.name(), yaml, {path}));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << yaml << status;
    EXPECT_EQ(Fields(status), std::vector<std::string>{field}) << yaml << status;
  }
  EXPECT_EQ(Load(*store_, JobId(before.name())).job.etag(), before.etag());
}

TEST_F(UpdateJobTest, RefusesUnknownFieldsOfTheConfiguration) {
  v1::UpdateJobRequest request = Change(Submit().name(), "priority: 3", {"priority"});
  auto* config = request.mutable_job()->mutable_config();
  config->GetReflection()->MutableUnknownFields(config)->AddVarint(9999, 1);
  EXPECT_EQ(Reason(Try(request)), "UNKNOWN_FIELD");
}

TEST_F(UpdateJobTest, AbortsWithAnOldEtagAndRepeatsByRequestId) {
  const v1::Job job = Submit();
  v1::UpdateJobRequest request = Change(job.name(), "priority: 3", {"priority"});
  request.mutable_job()->set_etag(job.etag());
  request.set_request_id("u1");
  const auto first = jobs_->Update(request, "unix:");
  ASSERT_OK(first.status());
  Update(job.name(), "priority: 9", "priority");
  const auto again = jobs_->Update(request, "unix:");
  ASSERT_OK(again.status());
  EXPECT_EQ(again->config().priority(), 3) << "the first reply";
  EXPECT_EQ(Load(*store_, JobId(job.name())).job.config().priority(), 9) << "without effect";
  request.set_request_id("u2");
  const absl::Status old = Try(request);
  EXPECT_TRUE(absl::IsAborted(old)) << old;
  EXPECT_EQ(Reason(old), "ETAG_CHANGED");
  request.set_request_id("u1");
  request.mutable_job()->mutable_config()->set_priority(4);
  EXPECT_EQ(Reason(Try(request)), "REQUEST_ID_REUSED");
}

// Every state: what ended keeps its name and labels changeable, and nothing else.
TEST_F(UpdateJobTest, EndedJobsAcceptNameAndLabelsOnly) {
  for (int number = v1::Job::QUEUED; number <= v1::Job::State_MAX; ++number) {
    if (!v1::Job::State_IsValid(number)) continue;
    const auto state = static_cast<v1::Job::State>(number);
    const std::string name = Submit().name();
    SetState(JobId(name), state);
    for (const std::string& path : LivePaths()) {
      const std::string key = path.substr(7);
      const bool refused = IsTerminal(state) && key != "name" && key != "labels";
      const absl::Status status = Try(Change(name, "name: new\nlabels: {a: b}", {key}));
      EXPECT_EQ(status.ok(), !refused) << StateName(state) << " " << key << status;
      EXPECT_EQ(Reason(status), refused ? "JOB_TERMINAL" : "") << key;
    }
    EXPECT_EQ(Load(*store_, JobId(name)).job.state(), state);
    EXPECT_EQ(Load(*store_, JobId(name)).job.config().name(), "new");
  }
}

TEST_F(UpdateJobTest, MovesTheStartTime) {
  const std::string name = Submit().name();
  EXPECT_EQ(Update(name, "not_before: 2190-01-01T00:00:00Z", "not_before").wait_reason(),
            v1::Job::NOT_BEFORE);
  const v1::Job later = Update(name, "not_before: 2199-01-01T00:00:00Z", "not_before");
  EXPECT_EQ(later.wait_reason(), v1::Job::NOT_BEFORE);
  EXPECT_EQ(later.not_before().seconds(), later.config().not_before().seconds());
  const v1::Job now = Update(name, "not_before: 1999-01-01T00:00:00Z", "not_before");
  EXPECT_EQ(now.wait_reason(), v1::Job::RESOURCES);
  EXPECT_FALSE(now.has_not_before());
  Update(name, "not_before: 2199-01-01T00:00:00Z", "not_before");
  const v1::Job cleared = Update(name, "", "not_before");
  EXPECT_EQ(cleared.wait_reason(), v1::Job::RESOURCES);
  EXPECT_FALSE(cleared.config().has_not_before());
  // A held job stays held.
  ASSERT_OK(jobs_->Pause(Pause(name), "unix:").status());
  EXPECT_EQ(Update(name, "not_before: 2199-01-01T00:00:00Z", "not_before").wait_reason(),
            v1::Job::HELD);
}

// A rule that is newer than the job does not stand in the way of another key.
TEST_F(UpdateJobTest, FaultsOfOtherStoredKeysDoNotCount) {
  const std::string name = Submit().name();
  JobRecord record = Load(*store_, JobId(name));
  record.job.mutable_config()->mutable_train()->set_batch_size(-1);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  const v1::Job job = Update(name, "priority: 3", "priority");
  EXPECT_EQ(job.config().priority(), 3);
  EXPECT_EQ(job.config().train().batch_size(), -1);
  EXPECT_FALSE(Try(Change(name, "priority: 101", {"priority"})).ok());
}

TEST_F(UpdateJobTest, ShorterGraceEndsAPauseInProgressEarlier) {
  const std::string name = Submit("limits: {stop_grace: 100s}").name();
  SetState(JobId(name), v1::Job::RUNNING);
  ASSERT_OK(jobs_->Pause(Pause(name), "unix:").status());
  const absl::Time begin = FromProto(Load(*store_, JobId(name)).ledger.end_requested());
  Update(name, "limits: {stop_grace: 10s}", "limits.stop_grace");
  EXPECT_EQ(FromProto(Load(*store_, JobId(name)).ledger.end_deadline()), begin + absl::Seconds(10));
  Update(name, "limits: {stop_grace: 50s}", "limits.stop_grace");
  EXPECT_EQ(FromProto(Load(*store_, JobId(name)).ledger.end_deadline()), begin + absl::Seconds(10))
      << "a deadline only moves earlier";
}

TEST_F(UpdateJobTest, GraceOfACommandIsNotThatOfTheJob) {
  const std::string name = Submit("limits: {stop_grace: 100s}").name();
  SetState(JobId(name), v1::Job::RUNNING);
  v1::PauseRequest pause = Pause(name);
  pause.mutable_grace()->set_seconds(50);
  ASSERT_OK(jobs_->Pause(pause, "unix:").status());
  const absl::Time deadline = FromProto(Load(*store_, JobId(name)).ledger.end_deadline());
  EXPECT_EQ(deadline, clock_.Now() + absl::Seconds(50));
  Update(name, "limits: {stop_grace: 10s}", "limits.stop_grace");
  EXPECT_EQ(FromProto(Load(*store_, JobId(name)).ledger.end_deadline()), deadline);
}

}  // namespace
}  // namespace trainerd::server
