// SPDX-License-Identifier: Apache-2.0
// Jobs that start from a checkpoint of another job, or from a folder.
#include "server/commands/submit/job_base.h"

#include <fstream>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "tests/io_faults.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

TEST_F(JobManagerTest, FromUsesResumePointAndConfigurationOfJob) {
  const v1::Job base =
      Submit("name: base\ntrain: {seed: 9, max_steps: 50}\noptimizer: {betas: [0.8, 0.9]}");
  const std::string id = JobId(base.name());
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "NOTHING_TO_RESUME");
  AddCheckpoint(base.name(), "c5", 5);
  AddCheckpoint(base.name(), "c9", 9, /*verified=*/false);
  request.mutable_config()->mutable_train()->set_max_steps(80);
  const auto response = jobs_->Submit(request, "unix:");
  ASSERT_OK(response.status());
  const v1::Job& job = response->job();
  EXPECT_EQ(job.base(), base.name() + "/checkpoints/c5");
  EXPECT_EQ(job.config().train().seed(), 9);
  EXPECT_EQ(job.config().train().max_steps(), 80);
  EXPECT_EQ(job.config().optimizer().betas_size(), 2);
  EXPECT_EQ(job.config().data().train_size(), 1);
  EXPECT_EQ(job.config().data().now(), base.config().data().now())
      << "the date of the first job is kept";
  EXPECT_TRUE(std::count(job.given().begin(), job.given().end(), "train.seed"));
  EXPECT_EQ(Load(*store_, JobId(job.name())).ledger.init_path(), dir_ / "c5");
  request.set_base(base.name() + "/checkpoints/c9");
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "CHECKPOINT_NOT_VERIFIED");
  request.set_base(base.name() + "/checkpoints/nope");
  EXPECT_TRUE(absl::IsNotFound(jobs_->Submit(request, "unix:").status()));
  SetState(id, v1::Job::FAILED);
  v1::DeleteJobRequest remove;
  remove.set_name(base.name());
  EXPECT_EQ(Reason(jobs_->Delete(remove, "unix:").status()), "JOB_IN_USE");
}

TEST_F(JobManagerTest, RefusesCorruptBaseAndNamesOlderCheckpoint) {
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  AddCheckpoint(base.name(), "c9", 9);
  SetState(JobId(base.name()), v1::Job::FAILED, base.name() + "/checkpoints/c9");
  std::filesystem::resize_file(dir_ / "c9/model.safetensors", 3);
  v1::SubmitJobRequest request;
  request.set_base(base.name() + "/checkpoints/c9");
  {
    const IoFault fault(IoFaults::Call::kRead, "c9/MANIFEST.json", EIO);
    EXPECT_TRUE(absl::IsUnavailable(jobs_->Submit(request, "unix:").status()))
        << "an I/O error is inconclusive";
  }
  const absl::Status refused = jobs_->Submit(request, "unix:").status();
  EXPECT_EQ(Reason(refused), "CHECKPOINT_DAMAGED");
  EXPECT_TRUE(absl::StrContains(refused.message(), "model.safetensors has 3 bytes instead of 17"))
      << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "--from " + base.name() + "/checkpoints/c5"))
      << refused;
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "CHECKPOINT_NOT_VERIFIED");
  EXPECT_EQ(Load(*store_, JobId(base.name())).job.latest_checkpoint(),
            base.name() + "/checkpoints/c5");
}

TEST_F(JobManagerTest, FromJobSkipsCorruptCheckpoints) {
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  AddCheckpoint(base.name(), "c9", 9);
  std::filesystem::remove(dir_ / "c9/model.safetensors");
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  const auto response = jobs_->Submit(request, "unix:");
  ASSERT_OK(response.status());
  EXPECT_EQ(response->job().base(), base.name() + "/checkpoints/c5");
  const v1::Event notice = recorder_.Events().back();
  EXPECT_EQ(notice.job(), response->job().name());
  EXPECT_EQ(notice.notice().code(), "CHECKPOINT_DAMAGED");
  EXPECT_TRUE(absl::StrContains(notice.notice().message(), "/c9 is damaged"))
      << notice.DebugString();
  EXPECT_TRUE(absl::StrContains(notice.notice().message(), "4 steps older"))
      << notice.DebugString();
  std::filesystem::remove_all(dir_ / "c5");
  const absl::Status none = jobs_->Submit(request, "unix:").status();
  EXPECT_EQ(Reason(none), "NOTHING_TO_RESUME");
  EXPECT_TRUE(absl::StrContains(none.message(), "/c9 is damaged")) << none;
}

TEST_F(JobManagerTest, NamesFinalModelIfNoCheckpointIsLeft) {
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  const std::string final_model = base.run_dir() + "/final";
  std::filesystem::create_directories(base.run_dir());
  std::filesystem::copy(dir_ / "c5", final_model);
  std::filesystem::resize_file(dir_ / "c5/model.safetensors", 3);
  v1::SubmitJobRequest request;
  const std::string advice =
      "start from the weights of its final model: set "
      "init_from.checkpoint to " +
      final_model + " and init_from.state to weights";
  request.set_base(base.name() + "/checkpoints/c5");
  EXPECT_TRUE(absl::EndsWith(jobs_->Submit(request, "t").status().message(),
                             "has no older checkpoint to start from instead; " + advice));
  request.set_base(base.name());
  const absl::Status none = jobs_->Submit(request, "t").status();
  EXPECT_EQ(Reason(none), "NOTHING_TO_RESUME");
  EXPECT_TRUE(absl::EndsWith(none.message(), "; " + advice)) << none;
  // The advice works.
  const v1::Job job = Submit("init_from: {checkpoint: " + final_model + ", state: weights}");
  EXPECT_EQ(Load(*store_, JobId(job.name())).ledger.init_path(), final_model);
  std::filesystem::resize_file(final_model + "/model.safetensors", 3);
  EXPECT_TRUE(
      absl::EndsWith(jobs_->Submit(request, "t").status().message(), "; start from another job"));
}

TEST_F(JobManagerTest, StartsFromAnAdapterOnlyWithLora) {
  const auto refusal = [this](const std::string& yaml) {
    return jobs_->Submit(Request(yaml), "unix:").status();
  };
  const v1::Job whole = Submit("name: whole"), lora = Submit("name: lora\nlora: {r: 4}");
  AddCheckpoint(whole.name(), "whole5", 5);
  AddCheckpoint(lora.name(), "adapter5", 5, /*verified=*/true, /*adapter=*/true);
  v1::SubmitJobRequest request;
  request.set_base(lora.name());
  const auto following = jobs_->Submit(request, "unix:");
  ASSERT_OK(following.status());
  EXPECT_EQ(following->job().config().lora().r(), 4);
  EXPECT_EQ(Load(*store_, JobId(following->job().name())).ledger.init_step(), 5);

  for (const char* state : {"full", "weights"}) {
    // By name and by path.
    for (const std::string& start : {lora.name(), dir_ / "adapter5"}) {
      const absl::Status refused =
          refusal(absl::StrCat("init_from: {checkpoint: ", start, ", state: ", state, "}"));
      EXPECT_EQ(Fields(refused), std::vector<std::string>{"init_from.checkpoint"}) << refused;
      EXPECT_TRUE(absl::StrContains(refused.message(),
                                    "adapter5 holds a LoRA adapter, not a whole "
                                    "model; add lora to the job"))
          << refused;
    }
    for (const std::string& start : {whole.name(), dir_ / "whole5"}) {
      const absl::Status refused = refusal(
          absl::StrCat("lora: {r: 4}\ninit_from: {checkpoint: ", start, ", state: ", state, "}"));
      EXPECT_EQ(Fields(refused), std::vector<std::string>{"init_from.checkpoint"}) << refused;
      EXPECT_TRUE(absl::StrContains(refused.message(), "set model.path to that folder")) << refused;
    }
  }
  // A PEFT folder without a manifest.
  std::filesystem::create_directory(dir_ / "peft");
  std::ofstream(dir_ / "peft/adapter_config.json") << "{}";
  EXPECT_TRUE(absl::StrContains(
      refusal("init_from: {checkpoint: " + (dir_ / "peft") + ", state: weights}").message(),
      "holds a LoRA adapter"));
  Submit("lora: {r: 4}\ninit_from: {checkpoint: " + (dir_ / "peft") + ", state: weights}");
}

TEST_F(JobManagerTest, RefusesJobFromFinishedOne) {
  const v1::Job base = Submit("train: {max_steps: 40}");
  AddCheckpoint(base.name(), "c40", 40);
  SetState(JobId(base.name()), v1::Job::FAILED, base.name() + "/checkpoints/c40");
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  // It saves the model that the base did not save.
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
  SetState(JobId(base.name()), v1::Job::SUCCEEDED, base.name() + "/checkpoints/c40");
  const absl::Status refused = jobs_->Submit(request, "unix:").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(Reason(refused), "NOTHING_TO_TRAIN");
  for (const char* key : {"train.max_steps", "train.epochs", "init_from.state=weights", "step 40"})
    EXPECT_TRUE(absl::StrContains(refused.message(), key)) << refused;
  request.mutable_config()->mutable_optimizer()->set_learning_rate(1e-6);
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "NOTHING_TO_TRAIN");
  request.mutable_config()->mutable_train()->set_max_steps(80);
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
  request.mutable_config()->mutable_train()->clear_max_steps();
  request.mutable_config()->mutable_train()->set_epochs(9);
  const auto longer = jobs_->Submit(request, "unix:");
  ASSERT_OK(longer.status());
  EXPECT_FALSE(longer->job().config().train().has_max_steps()) << "it would win over epochs";
  request.mutable_config()->mutable_train()->clear_epochs();
  request.mutable_config()->mutable_init_from()->set_state(v1::InitFromConfig::STATE_WEIGHTS);
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
}

TEST_F(JobManagerTest, RefusesJobFromFinishedEpochs) {
  const v1::Job base = Submit("train: {epochs: 2}");
  AddCheckpoint(base.name(), "c30", 30);
  SetState(JobId(base.name()), v1::Job::SUCCEEDED, base.name() + "/checkpoints/c30");
  JobRecord record = Load(*store_, JobId(base.name()));
  record.job.mutable_progress()->set_total_steps(30);
  *record.job.mutable_start_time() = ToProto(clock_.Now());
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "NOTHING_TO_TRAIN");
  request.mutable_config()->mutable_train()->set_epochs(3);
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
  request.mutable_config()->mutable_train()->set_epochs(1);
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "NOTHING_TO_TRAIN");
  // Records were added.
  std::filesystem::last_write_time(dir_ / "d.jsonl", std::filesystem::file_time_type::clock::now() +
                                                         std::chrono::hours(24 * 365 * 10));
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
  std::filesystem::last_write_time(dir_ / "d.jsonl", std::filesystem::file_time_type::clock::now());
  // With other batches only the data shows how long an epoch is.
  request.mutable_config()->mutable_train()->set_batch_size(1);
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
}

TEST_F(JobManagerTest, FromWithAnotherOptimizer) {
  const v1::Job base = Submit("optimizer: {betas: [0.8, 0.9], eps: 1.0e-6}\ntrain: {max_steps: 9}");
  AddCheckpoint(base.name(), "c5", 5);
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  request.mutable_config()->mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_SGD);
  const auto plain = jobs_->Submit(request, "unix:");
  // Plain SGD needs no state.
  ASSERT_OK(plain.status());
  EXPECT_EQ(plain->job().config().optimizer().betas_size(), 0);
  EXPECT_EQ(std::count(plain->job().given().begin(), plain->job().given().end(), "optimizer.betas"),
            0);
  request.mutable_config()->mutable_optimizer()->set_momentum(0.9);
  const absl::Status refused = jobs_->Submit(request, "unix:").status();
  EXPECT_EQ(Fields(refused), std::vector<std::string>{"init_from.state"}) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "init_from.state=weights")) << refused;
  request.mutable_config()->mutable_init_from()->set_state(v1::InitFromConfig::STATE_WEIGHTS);
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
}

// Each pair: only the same kind of state continues; the text names what the checkpoint lacks.
TEST_F(JobManagerTest, FromWithTheStateOfAnotherOptimizer) {
  const std::map<std::string, std::string> optimizers = {
      {"adamw", "{type: adamw}"},
      {"sgd", "{type: sgd, momentum: 0.9}"},
      {"muon", "{type: muon, learning_rate: 0.01}"},
      {"adamw_8bit", "{type: adamw_8bit}"}};
  const std::map<std::string, std::string> lacking = {
      {"adamw from sgd", "holds no exp_avg for adamw"},
      {"adamw from muon", "holds exp_avg of some parameters alone, for adamw"},
      {"adamw_8bit from adamw", "holds no exp_avg_8bit for adamw_8bit"},
      {"muon from adamw", "holds no momentum_buffer for muon"},
      {"muon from sgd", "holds no exp_avg for muon"}};
  for (const auto& [theirs, their_keys] : optimizers) {
    const v1::Job base = Submit(absl::StrCat("optimizer: ", their_keys, "\ntrain: {max_steps: 9}"));
    AddCheckpoint(base.name(), absl::StrCat("c-", theirs), 5);
    for (const auto& [ours, our_keys] : optimizers) {
      v1::SubmitJobRequest request;
      request.set_base(base.name());
      v1::JobConfig changes;
      ASSERT_TRUE(
          YamlToMessage(absl::StrCat("optimizer: ", our_keys), &changes).violations.empty());
      *request.mutable_config()->mutable_optimizer() = changes.optimizer();
      const absl::Status status = jobs_->Submit(request, "unix:").status();
      if (ours == theirs) {
        EXPECT_OK(status);
        continue;
      }
      EXPECT_EQ(Fields(status), std::vector<std::string>{"init_from.state"}) << status;
      const auto text = lacking.find(absl::StrCat(ours, " from ", theirs));
      if (text != lacking.end()) {
        EXPECT_TRUE(absl::StrContains(status.message(), text->second)) << status;
      }
    }
  }
}

TEST_F(JobManagerTest, TakesOverAlertsOfTheCheckpoint) {
  const v1::Job base = Submit("train: {max_steps: 50}");
  AddCheckpoint(base.name(), "c5", 5);
  JobRecord record = Load(*store_, JobId(base.name()));
  for (const char* text : {"type: 'loss_spike' active: true step: 4",
                           "type: 'diverged' active: true severity: CRITICAL step: 9"})
    *record.job.add_alerts() = FromText<v1::Alert>(text);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  auto response = jobs_->Submit(request, "unix:");
  ASSERT_OK(response.status());
  ASSERT_EQ(response->job().alerts_size(), 1);
  EXPECT_EQ(response->job().alerts(0).type(), "loss_spike");
  request.mutable_config()->mutable_init_from()->set_state(v1::InitFromConfig::STATE_WEIGHTS);
  EXPECT_EQ(jobs_->Submit(request, "unix:")->job().alerts_size(), 0);
}

TEST_F(JobManagerTest, RefusesInitFromCorruptFolder) {
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  const v1::SubmitJobRequest request =
      Request("init_from: {checkpoint: " + (dir_ / "c5") + ", state: weights}");
  ASSERT_OK(jobs_->Submit(request, "unix:").status());
  std::filesystem::resize_file(dir_ / "c5/model.safetensors", 3);
  const absl::Status refused = jobs_->Submit(request, "unix:").status();
  EXPECT_EQ(Fields(refused), std::vector<std::string>{"init_from.checkpoint"}) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "3 bytes instead of 17")) << refused;
}

}  // namespace
}  // namespace trainerd::server
