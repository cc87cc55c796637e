// SPDX-License-Identifier: Apache-2.0
// Errors as one JSON document on stderr, each once, and advice for words of other tools.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ErrorsTest : public ::testing::Test {
 protected:
  ErrorsTest() : daemon_(&store_, SocketOf(folder_.path())) {
    folder_.Write("job.yaml", "model: {path: tiny}\ndata: {train: a.jsonl}\n");
  }
  RunResult Run(std::vector<std::string> arguments) {
    return Trainctl(folder_.path(), std::move(arguments));
  }
  // The error document of a command, which prints nothing else.
  json Error(std::vector<std::string> arguments, ExitCode code) {
    const RunResult result = Run(std::move(arguments));
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(result.out, "");
    const json document = json::parse(result.err, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(document.is_object()) << result.err;
    EXPECT_EQ(document["error"]["exit_code"], static_cast<int>(code));
    return document["error"];
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(ErrorsTest, JsonHasCodeReasonAndMessage) {
  for (const char* form : {"json", "jsonl"}) {
    const json error = Error({"get", "nosuch", "-o", form}, kRefused);
    EXPECT_EQ(error["code"], "NOT_FOUND");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("no job matches \"nosuch\""));
  }
  store_.AddJob("4f01", "sft", v1::Job::RUNNING);
  EXPECT_EQ(Error({"rm", "sft", "-o", "json"}, kRefused)["reason"], "JOB_ACTIVE");
  EXPECT_EQ(Error({"wait", "sft", "--timeout", "0.1s", "-o", "json"}, kTimeout)["code"],
            "DEADLINE_EXCEEDED");
  EXPECT_EQ(Error({"--address", "nonsense", "ls", "-o", "json"}, kUsage)["code"],
            "INVALID_ARGUMENT");
  EXPECT_THAT(Run({"get", "nosuch", "-o", "yaml"}).err, HasSubstr("trainctl: no job matches"));
}

TEST_F(ErrorsTest, JsonHasWrongUsageToo) {
  EXPECT_EQ(Error({"-o", "json", "vaildate"}, kUsage)["message"],
            "unknown command \"vaildate\"; did you mean \"validate\"?\n`trainctl --help` lists the "
            "commands.");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"get", "-o", "json"},
                                                    {"-o", "json", "frobnicate"},
                                                    {"ls", "--nosuch", "-o", "json"},
                                                    {"submit", "-o", "json"},
                                                    {"ls", "--state", "RUNING", "-o", "json"}})
    EXPECT_FALSE(Error(arguments, kUsage)["message"].get<std::string>().empty());
}

TEST_F(ErrorsTest, JsonListsTheFaultsOfTheJobFile) {
  folder_.Write("bad.yaml", "model: {path: m}\ndata: {train: a.jsonl}\ntrain: {sed: 1}\n");
  const json error =
      Error({"validate", "bad.yaml", "--set", "train.epochs=-1", "-o", "json"}, kUsage);
  ASSERT_EQ(error["violations"].size(), 2u);
  EXPECT_EQ(error["violations"][0]["set"], "train.epochs=-1");
  EXPECT_FALSE(error["violations"][0].contains("file"));
  EXPECT_EQ(error["violations"][1]["file"], "bad.yaml");
  EXPECT_EQ(error["violations"][1]["line"], 3);
  EXPECT_EQ(error["violations"][1]["path"], "train.sed");
}

TEST_F(ErrorsTest, JsonListsTheFindingsThatPreventASubmit) {
  store_.on_submit = [](const v1::SubmitJobRequest&, v1::SubmitJobResponse* response) {
    v1::DataReport::Finding& finding = *response->mutable_report()->add_findings();
    finding.set_code("BAD_JSON");
    finding.set_error(true);
    finding.set_count(3);
    return grpc::Status::OK;
  };
  const json error = Error({"submit", "job.yaml", "-o", "json"}, kUsage);
  EXPECT_EQ(error["findings"][0]["code"], "BAD_JSON");
  EXPECT_EQ(error["findings"][0]["count"], 3);
}

TEST_F(ErrorsTest, JsonOfADaemonThatIsNotThere) {
  EXPECT_EQ(Error({"--address", "unix:" + (folder_ / "none.sock"), "ls", "-o", "json"},
                  kUnreachable)["code"],
            "UNAVAILABLE");
}

TEST_F(ErrorsTest, PrintsTheDelayOfTheDaemon) {
  store_.on_submit = [](const v1::SubmitJobRequest&, v1::SubmitJobResponse*) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(3);
    return Refuse(grpc::RESOURCE_EXHAUSTED, "the queue is full", retry);
  };
  EXPECT_EQ(Run({"submit", "job.yaml"}).err,
            "trainctl: the queue is full\ntrainctl: try again in 3s\n");
  EXPECT_EQ(Error({"submit", "job.yaml", "-o", "json"}, kRefused)["retry_after_seconds"], 3);
}

TEST_F(ErrorsTest, NamesTheCommandForWordsOfOtherTools) {
  const std::pair<const char*, const char*> words[] = {
      {"list", "trainctl ls"},       {"status", "trainctl get JOB"},
      {"cancel", "trainctl stop"},   {"delete", "trainctl rm JOB"},
      {"top", "trainctl watch JOB"}, {"describe", "trainctl get JOB"},
      {"kill", "trainctl stop"},     {"tail", "trainctl logs JOB -f"},
      {"start", "trainctl submit"},  {"run", "trainctl submit JOB.yaml"},
      {"List", "trainctl ls"},       {"dry-run", "trainctl validate"},
  };
  for (const auto& [word, command] : words) {
    const RunResult result = Run({word, "4f01"});
    EXPECT_EQ(result.code, kUsage) << word;
    EXPECT_THAT(result.err,
                HasSubstr(std::string("unknown command \"") + word + "\"; use " + command));
  }
}

TEST_F(ErrorsTest, SetIsNamedInPlaceOfTheFile) {
  const RunResult result = Run({"submit", "job.yaml", "--set", "lr=1e-4"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_EQ(result.err,
            "--set lr=1e-4: unknown key \"lr\" at the top level; write "
            "optimizer.learning_rate\n");
}

}  // namespace
}  // namespace trainerd::client
