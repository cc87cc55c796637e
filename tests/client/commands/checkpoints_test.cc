// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoints, checkpoint, gc and resume --from-checkpoint against the fake daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "proto/base/time.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kName[] = "jobs/4f0123456789/checkpoints/step-00000010-a1";

class CheckpointsTest : public ::testing::Test {
 protected:
  CheckpointsTest() : daemon_(&store_, SocketOf(folder_.path())) {
    store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
    v1::Checkpoint& checkpoint = store_.checkpoints.emplace_back();
    checkpoint.set_name(kName);
    checkpoint.set_etag("7");
    checkpoint.set_verified(true);
    checkpoint.set_has_optimizer(true);
    (*checkpoint.mutable_labels())["team"] = "blue";
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  const v1::UpdateCheckpointRequest& Updated() { return store_.checkpoint_updates.back(); }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(CheckpointsTest, ListsMetricsLabelsAndWhatKeepsThem) {
  v1::Checkpoint& checkpoint = store_.checkpoints[0];
  checkpoint.set_best(true);
  checkpoint.set_pinned(true);
  *checkpoint.mutable_expire_time() = ToProto(absl::Now() + absl::Hours(3) + absl::Seconds(30));
  checkpoint.add_metrics()->set_name("loss");
  checkpoint.add_metrics()->set_name("eval.validation.loss");
  checkpoint.mutable_metrics(1)->set_value(0.25);
  const std::string table = Run({"checkpoints", "ls", "sft"}).out;
  EXPECT_THAT(table, HasSubstr("eval.validation.loss 0.2500"));
  EXPECT_THAT(table, HasSubstr("team=blue"));
  EXPECT_THAT(table, HasSubstr("verified, best, pinned, expires in 3h00m"));
  EXPECT_THAT(Run({"checkpoints", "ls", "sft", "-o", "wide"}).out,
              HasSubstr("loss 0.0000, eval.validation.loss 0.2500"));
  store_.jobs[0].mutable_config()->mutable_evaluation()->mutable_best()->set_metric("remote.r.x");
  EXPECT_THAT(Run({"checkpoints", "ls", "sft"}).out, Not(HasSubstr("eval.validation.loss")))
      << "the metric by which the job compares";
  EXPECT_THAT(Run({"checkpoints", "ls"}).out, HasSubstr(kName)) << "of all jobs, with full names";
}

TEST_F(CheckpointsTest, LabelsKeepTheOthersAndGuardAgainstAChange) {
  const RunResult result =
      Run({"checkpoints", "label", "sft/checkpoints/step-00000010-a1", "stage=final", "n=a=b"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(Updated().checkpoint().name(), kName);
  EXPECT_EQ(Updated().checkpoint().etag(), "7");
  EXPECT_THAT(Updated().update_mask().paths(), ElementsAre("labels"));
  EXPECT_EQ(Updated().checkpoint().labels().size(), 3u);
  EXPECT_EQ(Updated().checkpoint().labels().at("n"), "a=b");
  EXPECT_THAT(result.out, HasSubstr("labels n=a=b, stage=final, team=blue"));
  Run({"checkpoints", "label", kName, "team-"});
  EXPECT_TRUE(Updated().checkpoint().labels().empty());
  for (const char* bad : {"=x", "team", "-"}) {
    const RunResult refused = Run({"checkpoints", "label", kName, "--", bad});
    EXPECT_EQ(refused.code, kUsage) << bad;
    EXPECT_THAT(refused.err, HasSubstr("KEY=VALUE")) << bad;
  }
}

TEST_F(CheckpointsTest, PinsAndUnpins) {
  EXPECT_THAT(Run({"checkpoints", "pin", kName}).out, HasSubstr("pinned"));
  EXPECT_TRUE(Updated().checkpoint().pinned());
  EXPECT_FALSE(Updated().request_id().empty());
  Run({"checkpoints", "unpin", kName});
  EXPECT_FALSE(Updated().checkpoint().pinned());
  EXPECT_THAT(Updated().update_mask().paths(), ElementsAre("pinned"));
}

TEST_F(CheckpointsTest, ExpiresAtATimeInATimeOrNever) {
  const auto expiry = [&](const std::vector<std::string>& when) {
    std::vector<std::string> arguments = {"checkpoints", "expire", kName};
    arguments.insert(arguments.end(), when.begin(), when.end());
    EXPECT_EQ(Run(arguments).code, kDone);
    return FromProto(Updated().checkpoint().expire_time());
  };
  const absl::Time before = absl::Now();
  EXPECT_GE(expiry({}), before);
  const absl::Time now = expiry({"now"});
  EXPECT_LE(now, absl::Now());
  EXPECT_GE(expiry({"2h"}), before + absl::Hours(2));
  EXPECT_EQ(expiry({"2030-01-02T03:04:05Z"}), absl::FromUnixSeconds(1'893'553'445));
  expiry({"never"});
  EXPECT_FALSE(Updated().checkpoint().has_expire_time());
  const RunResult refused = Run({"checkpoints", "expire", kName, "soon"});
  EXPECT_EQ(refused.code, kUsage);
  EXPECT_THAT(refused.err, HasSubstr("\"soon\" is not now, never"));
}

TEST_F(CheckpointsTest, VerifiesAndReportsDamage) {
  EXPECT_EQ(Run({"checkpoints", "verify", kName}).code, kDone);
  EXPECT_EQ(store_.verifications.back().name(), kName);
  const RunResult bad = Run({"checkpoints", "verify", "sft/checkpoints/bad"});
  EXPECT_EQ(bad.code, kRefused);
  EXPECT_THAT(bad.err, HasSubstr("is damaged"));
}

TEST_F(CheckpointsTest, RefusesAJobInPlaceOfACheckpoint) {
  for (const char* command : {"pin", "verify", "expire"}) {
    const RunResult refused = Run({"checkpoints", command, "sft"});
    EXPECT_EQ(refused.code, kUsage) << command;
    EXPECT_THAT(refused.err, HasSubstr("JOB/checkpoints/ID")) << command;
  }
}

TEST_F(CheckpointsTest, RequestsACheckpoint) {
  const RunResult result =
      Run({"checkpoint", "sft", "--label", "stage=mid", "--label", "a=b", "--pin"});
  EXPECT_EQ(result.code, kDone) << result.err;
  const v1::RequestCheckpointRequest& request = store_.checkpoint_requests.back();
  EXPECT_EQ(request.name(), "jobs/4f0123456789");
  EXPECT_EQ(request.labels().at("stage"), "mid");
  EXPECT_EQ(request.labels().size(), 2u);
  EXPECT_TRUE(request.pin());
  EXPECT_FALSE(request.request_id().empty());
  EXPECT_EQ(Run({"checkpoint", "sft", "--label", "stage"}).code, kUsage);
  EXPECT_THAT(Run({"checkpoint", "sft", "-o", "json"}).out,
              HasSubstr("\"checkpoint_pending\": true"));
}

TEST_F(CheckpointsTest, CollectsGarbage) {
  RunResult result = Run({"gc", "--dry-run"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(store_.collections.back().parent(), "jobs/-");
  EXPECT_TRUE(store_.collections.back().dry_run());
  EXPECT_THAT(result.out, HasSubstr("would remove"));
  EXPECT_THAT(result.out, HasSubstr("2.0 KiB would be removed, 1.0 KiB kept"));
  result = Run({"gc", "sft"});
  EXPECT_EQ(store_.collections.back().parent(), "jobs/4f0123456789");
  EXPECT_FALSE(store_.collections.back().dry_run());
  EXPECT_THAT(result.out, HasSubstr("EXPIRED"));
  EXPECT_THAT(Run({"gc", "-o", "json"}).out, HasSubstr("\"removed_bytes\": 2048"));
}

TEST_F(CheckpointsTest, ResumesFromACheckpointByIdOrName) {
  for (const char* from : {"step-00000010-a1", kName, "sft/checkpoints/step-00000010-a1"}) {
    EXPECT_EQ(Run({"resume", "sft", "--from-checkpoint", from}).code, kDone) << from;
    EXPECT_EQ(store_.resumes.back().from_checkpoint(), kName) << from;
  }
  Run({"resume", "sft"});
  EXPECT_EQ(store_.resumes.back().from_checkpoint(), "");
}

TEST_F(CheckpointsTest, TreeShowsTheLineThatLeadsToAJobAndWhatCameFromIt) {
  const auto add = [&](const std::string& id, const std::string& base) {
    store_.AddJob(id, "name-" + id, v1::Job::SUCCEEDED);
    v1::Job* job = store_.Find("jobs/" + id);
    job->set_base(base);
  };
  add("aaa1", "jobs/4f0123456789/checkpoints/c1");
  add("aaa2", "jobs/4f0123456789/checkpoints/c2");
  add("bbb1", "jobs/aaa1/checkpoints/d1");
  add("other", "jobs/deleted/checkpoints/x");
  const RunResult tree =
      Trainctl(folder_.path(), {"tree", "bbb1"}, [](Environment* env) { env->utf8 = false; });
  EXPECT_EQ(tree.code, kDone) << tree.err;
  EXPECT_EQ(tree.out,
            "jobs/4f0123456789 sft RUNNING\n"
            "|- jobs/aaa1 name-aaa1 SUCCEEDED from c1\n"
            "|  `- jobs/bbb1 name-bbb1 SUCCEEDED from d1 *\n"
            "`- jobs/aaa2 name-aaa2 SUCCEEDED from c2\n");
  EXPECT_THAT(Run({"tree", "aaa2"}).out, HasSubstr("└─ jobs/aaa2"));
  EXPECT_EQ(Run({"tree", "other"}).out, "jobs/other name-other SUCCEEDED from x\n");
  const RunResult lines = Run({"tree", "sft", "-o", "jsonl"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 4);
}

}  // namespace
}  // namespace trainerd::client
