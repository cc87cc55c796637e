// SPDX-License-Identifier: Apache-2.0
// Completion and manual pages: of a small tree, and of the real one.
#include "client/shell/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/shell/man_page.h"
#include "proto/base/process/process.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const CommandTree kTree = {
    .name = "trainctl",
    .help = "controls trainerd",
    .flags = {{.names = {"-o", "--output"},
               .value = "FORM",
               .choices = {"json", "jsonl", "table"},
               .help = "Form"},
              {.names = {"-h", "--help"}, .help = "Help"}},
    .commands = {
        {.name = "submit",
         .help = "Queue a job",
         .flags = {{.names = {"--from"}, .value = "JOB", .help = "Continue"},
                   {.names = {"--watch"}, .help = "Follow it"}},
         .arguments = {{.name = "JOB.yaml"}}},
        {.name = "wait",
         .help = "Wait's end",
         .arguments = {{.name = "JOB", .required = true, .repeated = true}}},
        {.name = "checkpoints",
         .help = "Checkpoints",
         .commands = {{.name = "pull", .arguments = {{.name = "NAME"}, {.name = "DIR"}}}}}}};

std::vector<std::string> Words(std::vector<std::string> words) {
  std::vector<std::string> found;
  for (const auto& [word, help] : Complete(kTree, std::move(words)).words) found.push_back(word);
  return found;
}

TEST(CompletionTest, CompletesCommandsFlagsAndChoices) {
  EXPECT_THAT(Words({""}), ElementsAre("submit", "wait", "checkpoints"));
  EXPECT_THAT(Words({"s"}), ElementsAre("submit"));
  EXPECT_THAT(Words({"checkpoints", ""}), ElementsAre("pull"));
  EXPECT_THAT(Words({"-o", "json", "checkpoints", "p"}), ElementsAre("pull"));
  EXPECT_THAT(Words({"submit", "--"}), ElementsAre("--from", "--watch", "--output", "--help"));
  EXPECT_THAT(Words({"submit", "--w"}), ElementsAre("--watch"));
  EXPECT_THAT(Words({"wait", "-o", ""}), ElementsAre("json", "jsonl", "table"));
  EXPECT_THAT(Words({"wait", "--output", "json"}), ElementsAre("json", "jsonl"));
  EXPECT_THAT(Words({"wait", "--output=t"}), ElementsAre("table"));
  EXPECT_THAT(Words({"wait", "--output", "=", "t"}), ElementsAre("table")) << "as bash splits it";
  EXPECT_THAT(Words({"wait", "--output", "="}), ElementsAre("json", "jsonl", "table"));
  EXPECT_THAT(Words({"nonsense", "--"}), ElementsAre("--output", "--help"));
  EXPECT_THAT(Words({}), ElementsAre("submit", "wait", "checkpoints"));
}

TEST(CompletionTest, CompletesJobsAndFilesWhereTheyBelong) {
  const auto kind = [](const std::vector<std::string>& words) {
    const Completion completion = Complete(kTree, words);
    return std::string(completion.jobs ? "jobs" : "") + (completion.files ? "files" : "");
  };
  EXPECT_EQ(kind({"submit", ""}), "files");
  EXPECT_EQ(kind({"submit", "a.yaml", ""}), "") << "one job file";
  EXPECT_EQ(kind({"submit", "--from", ""}), "jobs");
  EXPECT_EQ(kind({"submit", "--watch", ""}), "files");
  EXPECT_EQ(kind({"wait", "a", "b", ""}), "jobs") << "one or more";
  EXPECT_EQ(kind({"wait", "submit", ""}), "jobs") << "a job can have the name of a command";
  EXPECT_EQ(kind({"checkpoints", "pull", ""}), "jobs");
  EXPECT_EQ(kind({"checkpoints", "pull", "a", ""}), "files");
  EXPECT_EQ(kind({"wait", "-"}), "");
}

TEST(CompletionTest, FindsTheAddressAmongTheWords) {
  EXPECT_EQ(ValueOf("--address", {"--address", "unix:/s", "wait", ""}), "unix:/s");
  EXPECT_EQ(ValueOf("--address", {"wait", "--address=unix:/s", ""}), "unix:/s");
  EXPECT_EQ(ValueOf("--address", {"wait", "--address"}), "");
}

TEST(CompletionTest, RefusesOtherShells) {
  EXPECT_TRUE(absl::IsInvalidArgument(CompletionScript(kTree, "csh").status()));
}

TEST(ManPageTest, NoTextIsARequest) {
  EXPECT_EQ(RoffText(".SH x"), "\\&.SH x");
  EXPECT_EQ(RoffText("a\n'b\n.c.d"), "a\n\\&'b\n\\&.c.d");
  EXPECT_EQ(RoffText("\\n -o \"q\""), "\\en \\-o \\(dqq\\(dq");
  EXPECT_EQ(RoffText("1 …\xff"), "1 \\[u2026]?");
}

// The scripts and the page of the real trainctl.
class RealTreeTest : public ::testing::Test {
 protected:
  std::string Out(const std::vector<std::string>& arguments) {
    const RunResult result = Trainctl(folder_.path(), arguments);
    EXPECT_EQ(result.code, kDone) << result.err;
    return result.out;
  }
  // The first words of the lines.
  std::vector<std::string> Complete(std::vector<std::string> words) {
    words.insert(words.begin(), "__complete");
    std::vector<std::string> found;
    std::istringstream lines(Out(words));
    for (std::string line; std::getline(lines, line);)
      found.push_back(line.substr(0, line.find('\t')));
    return found;
  }

  TempDir folder_;
};

TEST_F(RealTreeTest, EachCommandIsInEveryScriptAndInThePage) {
  const std::string page = Out({"__man", "trainctl.1"});
  std::vector<std::vector<std::string>> groups = {{}, {"checkpoints"}, {"config"}, {"files"}};
  int commands = 0;
  for (std::vector<std::string> group : groups) {
    group.push_back("");
    for (const std::string& command : Complete(group)) {
      if (command.empty() || command[0] == ':') continue;
      ++commands;
      std::string path = "trainctl ";
      for (const std::string& word : group) path += word.empty() ? command : word + " ";
      EXPECT_THAT(page, HasSubstr(".SS \"" + RoffText(path) + "\"")) << path;
      if (group.size() > 1) continue;
      for (const char* shell : {"bash", "zsh", "fish"})
        EXPECT_THAT(Out({"completion", shell}), HasSubstr(command)) << shell;
    }
  }
  EXPECT_GT(commands, 35);
  EXPECT_THAT(page, HasSubstr("\\-\\-pause\\-running"));
  EXPECT_THAT(Out({"__man", "trainerd.yaml.5"}), HasSubstr("log_file"));
  EXPECT_THAT(Complete({"ls", "-o", ""}), Contains("jsonl"));
  EXPECT_THAT(Complete({"drain", "--"}), Contains("--pause-running"));
  EXPECT_THAT(Complete({"--token-file", ""}), ElementsAre(":files"));
  EXPECT_EQ(Trainctl(folder_.path(), {"__man", "x"}).code, kUsage);
  EXPECT_EQ(Trainctl(folder_.path(), {"completion", "csh"}).code, kUsage);
}

TEST_F(RealTreeTest, TheShellsAcceptTheirScripts) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    std::string path;
    for (const char* folder : {"/bin/", "/usr/bin/", "/usr/local/bin/"})
      if (std::filesystem::exists(std::string(folder) + shell)) path = std::string(folder) + shell;
    if (path.empty()) continue;
    const auto checked =
        RunProcess({.argv = {path, "-n", kChildInputPath}, .input = Out({"completion", shell})});
    ASSERT_TRUE(checked.ok()) << checked.status();
    EXPECT_EQ(checked->exit.code, 0) << shell << ": " << checked->err;
    EXPECT_EQ(checked->err, "");
  }
}

TEST_F(RealTreeTest, CompletesJobsOfTheDaemonAndNothingWithoutOne) {
  EXPECT_THAT(Complete({"wait", ""}), IsEmpty());
  FakeStore store;
  store.AddJob("abc123", "first\x1b[2J", v1::Job::RUNNING);
  store.AddJob("def456", "second", v1::Job::QUEUED);
  FakeDaemon daemon(&store, SocketOf(folder_.path()));
  EXPECT_THAT(Complete({"wait", ""}), ElementsAre("def456", "abc123"));
  EXPECT_THAT(Complete({"wait", "abc123", "d"}), ElementsAre("def456"));
  EXPECT_THAT(Out({"__complete", "wait", "a"}), Not(HasSubstr("\x1b")));
  const std::string address = "unix:" + folder_.path() + "/none.sock";
  EXPECT_THAT(Complete({"--address", address, "wait", ""}), IsEmpty());
}

}  // namespace
}  // namespace trainerd::client
