// SPDX-License-Identifier: Apache-2.0
// The program trainerd-worker: by hand (train, Ctrl-C, again, exit codes, JSON lines) and as the
// shim starts it (attempt, control socket, records).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/directory.h"
#include "proto/contract/run_dir/framing.h"
#include "proto/contract/run_dir/manifest.h"
#include "proto/contract/run_dir/spool_writer.h"
#include "tests/engine/train/tiny_run.h"

extern char** environ;

namespace trainerd::engine {
namespace {

using testing::FileHash;
using ::testing::HasSubstr;
using testing::ReadText;
using testing::TinyJob;
using testing::WriteText;

constexpr auto kDeadline = std::chrono::seconds(120);

class WorkerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    program_ = TRAINERD_BIN_DIR + "/trainerd-worker";
    if (!std::filesystem::exists(program_)) GTEST_SKIP() << program_ << " is not built";
  }

  pid_t Start(std::vector<std::string> arguments, int control_fd = -1) {
    arguments.insert(arguments.begin(), program_);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    // One thread: steps this small gain nothing from a second, and lose much on a busy machine.
    // Of two values of a variable the first counts.
    std::vector<std::string> environment{"OMP_NUM_THREADS=1",
                                         "TRAINERD_CACHE=" + folder_ / "cache"};
    for (char** variable = environ; *variable != nullptr; ++variable)
      environment.push_back(*variable);
    std::vector<char*> envp;
    for (std::string& variable : environment) envp.push_back(variable.data());
    envp.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const std::string out = folder_ / "stdout", err = folder_ / "stderr";
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (control_fd >= 0) posix_spawn_file_actions_adddup2(&actions, control_fd, 7);
    pid_t pid = -1;
    EXPECT_EQ(posix_spawn(&pid, program_.c_str(), &actions, nullptr, argv.data(), envp.data()), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }
  int Wait(pid_t pid) {
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Run(const std::vector<std::string>& arguments) { return Wait(Start(arguments)); }
  std::string Out() { return ReadText(folder_ / "stdout"); }
  std::string Err() { return ReadText(folder_ / "stderr"); }

  // Waits until `path` holds `text`.
  void Await(const std::string& path, const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (ReadText(path).find(text) == std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "no " << text << " in " << path << ":\n"
                                                       << Out() << Err();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  void WriteJob(const std::string& more) {
    WriteText(
        folder_ / "job.yaml",
        absl::StrCat(
            "model: {path: model}\ndata: {train: train.jsonl, max_length: 96, packing: none}\n",
            "optimizer: {learning_rate: 1.0e-2}\n", more));
  }
  std::vector<std::string> Train(const std::string& run) {
    return {"train",       "--job",    folder_ / "job.yaml",      "--run-dir",
            folder_ / run, "--events", folder_ / (run + ".jsonl")};
  }
  std::map<int64_t, double> Losses(const std::string& run) {
    std::map<int64_t, double> losses;
    std::ifstream file(folder_ / (run + ".jsonl"));
    for (std::string line; std::getline(file, line);) {
      const auto event = nlohmann::json::parse(line);
      if (event.contains("metrics"))
        losses[event["metrics"]["step"].get<int64_t>()] = event["metrics"]["loss"];
    }
    return losses;
  }

  TempDir folder_;
  TinyJob job_{folder_};
  std::string program_;
};

TEST_F(WorkerTest, CtrlCStopsWithACheckpointAndTheSameCommandContinuesToTheSameBytes) {
  WriteJob("train: {precision: fp32, batch_size: 2, epochs: 8}\n");
  ASSERT_EQ(Run(Train("whole")), 0) << Err();
  const pid_t pid = Start(Train("stopped"));
  Await(folder_ / "stopped.jsonl", "\"step\":30,");
  kill(pid, SIGINT);
  ASSERT_EQ(Wait(pid), 3) << Err();
  EXPECT_THAT(Err(), HasSubstr("continues from there"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "stopped/final"));
  ASSERT_EQ(Run(Train("stopped")), 0) << Err();
  EXPECT_EQ(Losses("stopped"), Losses("whole"));
  EXPECT_EQ(FileHash(folder_ / "stopped/final/model.safetensors"),
            FileHash(folder_ / "whole/final/model.safetensors"));
}

// Steps are long enough that the second press mostly comes before the first finds a step's end.
TEST_F(WorkerTest, CtrlCPressedAgainLeavesWithoutACheckpointAndSaysWhatIsDoneAgain) {
  WriteJob(
      "train: {precision: fp32, batch_size: 3, gradient_accumulation: 8, epochs: 8000}\n"
      "checkpoint: {every_steps: 10}\n");
  for (int i = 0; i < 20; ++i) {
    const std::string run = absl::StrCat("run", i);
    const pid_t pid = Start(Train(run));
    Await(folder_ / (run + ".jsonl"), "\"step\":13,");
    kill(pid, SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    kill(pid, SIGINT);
    ASSERT_EQ(Wait(pid), 3) << Err();
    if (absl::StrContains(Err(), "continues from there")) continue;  // the first press was faster
    const int64_t last = Losses(run).rbegin()->first;
    EXPECT_THAT(Err(),
                HasSubstr(absl::StrCat(
                    "stopped at step ", last,
                    " without a checkpoint; the same command continues from that of step ",
                    last / 10 * 10, " and does ", last % 10, last % 10 == 1 ? " step" : " steps")));
    return;
  }
  FAIL() << "the second press never came in time";
}

TEST_F(WorkerTest, KilledInTheMiddleItContinuesFromTheNewestCheckpointAndKeepsOnlyTheNewest) {
  WriteJob(
      "train: {precision: bf16, batch_size: 2, epochs: 8}\ncheckpoint: {every_steps: 10, "
      "keep_last: 2}\n");
  const pid_t pid = Start(Train("run"));
  Await(folder_ / "run.jsonl", "\"step\":45,");
  kill(pid, SIGKILL);
  ASSERT_EQ(Wait(pid), -SIGKILL);
  ASSERT_EQ(Run(Train("run")), 0) << Err();
  EXPECT_EQ(Losses("run").size(), 96u);
  EXPECT_EQ(ListCheckpoints(folder_ / "run")->size(), 2u);
}

TEST_F(WorkerTest, ExitCodesAndMessages) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_EQ(Run({"train"}), 2);
  EXPECT_EQ(Run({"nonsense"}), 2);
  WriteJob("train: {epocs: 1}\n");
  EXPECT_EQ(Run(Train("run")), 2);
  EXPECT_THAT(Err(), HasSubstr("job.yaml:4: train.epocs"));
  WriteJob("");
  std::vector<std::string> wrong = Train("run");
  wrong.insert(wrong.end(), {"--set", "train.batch_size=x"});
  EXPECT_EQ(Run(wrong), 2);
  EXPECT_THAT(Err(), HasSubstr("--set train.batch_size=x"));
  WriteText(folder_ / "train.jsonl", "{\"messages\": 1}\n");
  EXPECT_EQ(Run(Train("run")), 1);
  EXPECT_THAT(Err(), HasSubstr("DATA_INVALID"));
  EXPECT_THAT(Err(), HasSubstr("train.jsonl:1"));
  WriteJob("init_from: {checkpoint: jobs/aaaa}\n");
  EXPECT_EQ(Run(Train("run")), 2);
  EXPECT_THAT(Err(), HasSubstr("without a daemon set it to a path"));
}

TEST_F(WorkerTest, SetOverridesTheJobFileAndJsonLinesGoToStdout) {
  WriteJob("");
  ASSERT_EQ(Run({"train", "--job", folder_ / "job.yaml", "--run-dir", folder_ / "run", "--events",
                 "-", "--set", "train.max_steps=3", "--set", "train.seed=5"}),
            0)
      << Err();
  std::ifstream file(folder_ / "stdout");
  int metrics = 0;
  for (std::string line; std::getline(file, line);) {
    const auto event = nlohmann::json::parse(line);
    EXPECT_EQ(event["attempt"], 1);
    metrics += event.contains("metrics") ? 1 : 0;
  }
  EXPECT_EQ(metrics, 3);
  EXPECT_THAT(ReadText(folder_ / "run/job_config.yaml"), HasSubstr("seed: 5"));
}

TEST_F(WorkerTest, ASecondWorkerInTheSameRunDirectoryIsRefused) {
  WriteJob("train: {epochs: 2000}\n");
  const pid_t pid = Start(Train("run"));
  Await(folder_ / "run.jsonl", "\"step\":2,");
  EXPECT_EQ(Run(Train("run")), 1);
  EXPECT_THAT(Err(), HasSubstr("another trainerd-worker runs in"));
  kill(pid, SIGKILL);
  Wait(pid);
}

TEST_F(WorkerTest, InitModelRefusesAFolderThatHoldsSomethingAndSampleAnswers) {
  const std::string config = TRAINERD_SOURCE_DIR + "/tests/golden/tiny_model/config.json";
  EXPECT_EQ(Run({"init-model", "--config", config, "--output", folder_ / "model", "--seed", "1"}),
            2);
  EXPECT_THAT(Err(), HasSubstr("is not empty"));
  ASSERT_EQ(Run({"init-model", "--config", config, "--output", folder_ / "a", "--seed", "1",
                 "--dtype", "bf16", "--tokenizer", folder_ / "model"}),
            0)
      << Err();
  ASSERT_EQ(Run({"init-model", "--config", config, "--output", folder_ / "b", "--seed", "1",
                 "--dtype", "bf16", "--tokenizer", folder_ / "model"}),
            0);
  ASSERT_EQ(Run({"init-model", "--config", config, "--output", folder_ / "c", "--seed", "2",
                 "--dtype", "bf16", "--tokenizer", folder_ / "model"}),
            0);
  EXPECT_EQ(FileHash(folder_ / "a/model.safetensors"), FileHash(folder_ / "b/model.safetensors"));
  EXPECT_NE(FileHash(folder_ / "a/model.safetensors"), FileHash(folder_ / "c/model.safetensors"));
  EXPECT_THAT(ReadText(folder_ / "a/config.json"), HasSubstr("\"bfloat16\""));
  EXPECT_EQ(Run({"sample", "--model", folder_ / "a", "--prompt", "hello", "--max-tokens", "3"}), 0)
      << Err();
  EXPECT_EQ(
      Run({"sample", "--model", folder_ / "a", "--prompt", "hello", "--max-tokens", "3", "--raw"}),
      0)
      << Err();
  EXPECT_EQ(Run({"sample", "--model", folder_ / "absent", "--prompt", "hello"}), 1);
  EXPECT_THAT(Err(), HasSubstr("absent"));
}

// What the shim does, with the other end of the control socket in the test's hand.
class AttemptTest : public WorkerTest {
 protected:
  void StartAttempt(int attempt, const std::string& overrides) {
    spec_ = job_.Spec("run", attempt, overrides);
    spec_.set_cpu_threads(1);
    dir_ = AttemptDir(spec_.run_dir(), attempt);
    ASSERT_TRUE(MakeDirectories(dir_).ok());
    ASSERT_TRUE(WriteFileAtomic(dir_ + "/spec.pb", spec_.SerializeAsString()).ok());
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pid_ = Start({"attempt", "--attempt-dir", dir_, "--control-fd", "7"}, fds[1]);
    close(fds[1]);
    control_ = fds[0];
  }
  void Send(internal::RequestedAction action) {
    internal::WorkerCommand command;
    command.set_action(action);
    ASSERT_TRUE(WriteSocketFrame(control_, command.SerializeAsString()).ok());
  }
  internal::WorkerExitRecord End(int exit_code) {
    EXPECT_EQ(Wait(pid_), exit_code) << Out() << Err();
    close(control_);
    const auto record = ReadWorkerExitRecord(dir_);
    EXPECT_TRUE(record.ok() && record->has_value());
    return record.ok() && record->has_value() ? **record : internal::WorkerExitRecord();
  }
  std::vector<v1::Event> Spool() {
    std::vector<v1::Event> events;
    const std::string bytes = ReadText(SpoolSegmentPath(dir_, 1));
    for (size_t offset = 0;;) {
      const SpoolFrame frame = ReadSpoolFrame(bytes, offset);
      if (frame.kind != SpoolFrame::Kind::kFrame) break;
      EXPECT_TRUE(events.emplace_back().ParseFromArray(frame.payload.data(),
                                                       static_cast<int>(frame.payload.size())));
      offset = frame.next_offset;
    }
    return events;
  }

  internal::AttemptSpec spec_;
  std::string dir_;
  pid_t pid_ = -1;
  int control_ = -1;
};

constexpr char kLong[] = "train: {epochs: 20000}";

TEST_F(AttemptTest, CommandsOfTheShimAreObeyedAndTheSpoolHoldsEveryStep) {
  StartAttempt(1, kLong);
  Await(folder_ / "stdout", "step ");
  Send(internal::CHECKPOINT);
  Await(folder_ / "stdout", "checkpoint ");
  Send(internal::PAUSE);
  const internal::WorkerExitRecord record = End(0);
  EXPECT_EQ(record.end(), v1::Attempt::PAUSED_OK);
  EXPECT_EQ(record.first_step(), 1);
  EXPECT_EQ(record.last_checkpoint().step(), record.last_step());
  int64_t step = 0;
  for (const v1::Event& event : Spool()) {
    EXPECT_EQ(event.job(), spec_.job());
    EXPECT_EQ(event.attempt(), 1);
    EXPECT_TRUE(event.has_time());
    if (event.has_metrics()) {
      EXPECT_EQ(event.metrics().step(), ++step);
    }
  }
  EXPECT_EQ(step, record.last_step());
}

TEST_F(AttemptTest, TheEndOfTheControlSocketIsAPreemption) {
  StartAttempt(1, kLong);
  Await(folder_ / "stdout", "step ");
  close(control_);
  control_ = -1;
  const internal::WorkerExitRecord record = End(0);
  EXPECT_EQ(record.end(), v1::Attempt::PREEMPTED_OK);
  EXPECT_TRUE(record.last_checkpoint().verified());
}

TEST_F(AttemptTest, SoIsATerm) {
  StartAttempt(1, kLong);
  Await(folder_ / "stdout", "step ");
  kill(pid_, SIGTERM);
  EXPECT_EQ(End(0).end(), v1::Attempt::PREEMPTED_OK);
}

TEST_F(AttemptTest, StopAndDiscardEndAsTheySay) {
  StartAttempt(1, kLong);
  Await(folder_ / "stdout", "step ");
  Send(internal::STOP);
  EXPECT_EQ(End(0).end(), v1::Attempt::STOPPED_OK);
  StartAttempt(2, kLong);
  Await(folder_ / "stdout", "step ");
  Send(internal::DISCARD);
  const internal::WorkerExitRecord record = End(0);
  EXPECT_EQ(record.end(), v1::Attempt::DISCARDED);
  EXPECT_GT(record.last_step(), record.last_checkpoint().step());
}

TEST_F(AttemptTest, AFailureIsARecord) {
  StartAttempt(1, absl::StrCat("model: {path: ", folder_ / "absent", "}"));
  const internal::WorkerExitRecord record = End(1);
  EXPECT_EQ(record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(record.error().code(), "MODEL_INVALID");
  EXPECT_EQ(record.error().attempt(), 1);
  EXPECT_THAT(record.error().message(), HasSubstr("absent"));
}

}  // namespace
}  // namespace trainerd::engine
