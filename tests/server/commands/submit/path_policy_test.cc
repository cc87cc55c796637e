// SPDX-License-Identifier: Apache-2.0
// The table is that of ServerConfig.allow_paths.
#include "server/commands/submit/path_policy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

const std::string kUnix = absl::StrCat("unix:uid=", geteuid());
const std::string kTcp = "127.0.0.1:40112";

class PathPolicyTest : public ::testing::Test {
 protected:
  PathPolicyTest() {
    dir_.Write("home/data.jsonl", "x");
    dir_.Write("state/token", "x");
    dir_.Write("state/runs/4f/final/config.json", "x");
    dir_.Write("other/data.jsonl", "x");
    Link("other", "home/out");
    Link("nothing", "home/dangling");
    Link("/no/such/place", "home/far");
    Link("state/token", "to_token");
    Link("home", "to_home");
  }
  void Link(const std::string& target, const std::string& name) {
    const std::string absolute = target[0] == '/' ? target : dir_ / target;
    EXPECT_EQ(symlink(absolute.c_str(), (dir_ / name).c_str()), 0);
  }
  PathPolicy Policy(const std::vector<std::string>& allow_paths) {
    return PathPolicy(
        {.state_dir = dir_ / "state", .home = dir_ / "to_home", .allow_paths = allow_paths});
  }
  void Expect(const PathPolicy& policy, const std::string& peer, bool allowed,
              const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      const std::string full = path[0] == '/' ? path : dir_ / path;
      EXPECT_EQ(policy.Allows(full, peer), allowed) << peer << " " << path;
    }
  }

  TempDir dir_;
};

TEST_F(PathPolicyTest, OnlyTheDaemonsUserAndRootNameEveryFolder) {
  const PathPolicy policy = Policy({});
  const std::string path = dir_ / "other/data.jsonl";
  EXPECT_TRUE(policy.Allows(path, Caller(kUnix)));
  EXPECT_TRUE(policy.Allows(path, Caller("root", "unix:uid=0")));
  EXPECT_TRUE(policy.Allows(path, Caller(kInboxPeer)));
  EXPECT_FALSE(policy.Allows(path, Caller("alice", kUnix))) << "with a token";
  EXPECT_FALSE(policy.Allows(path, Caller("alice", "unix:uid=0")));
  EXPECT_FALSE(policy.Allows(path, Caller("alice", "unix:uid=4242")));
  EXPECT_FALSE(policy.Allows(path, Caller("root", "192.0.2.7:4711")));
}

TEST_F(PathPolicyTest, TcpIsLimitedToHomeAndRuns) {
  const PathPolicy policy = Policy({});
  for (const std::string& peer : {kTcp, std::string("[::1]:40112"), std::string()}) {
    Expect(policy, peer, true,
           {"home", "home/data.jsonl", "home/none", "home/a/b", "to_home/data.jsonl",
            "state/runs/4f/final", "state/runs/none"});
    Expect(policy, peer, false,
           {"other/data.jsonl", "other/none", "home/../other/data.jsonl", "home/out/data.jsonl",
            "home/out/none", "home/dangling", "home/far", "home/far/x", "homeless/x", "/", "/etc",
            "/etc/passwd", "/etc/none", "/proc/self/environ"});
  }
}

TEST_F(PathPolicyTest, UnixSocketIsNotLimited) {
  Expect(Policy({}), kUnix, true,
         {"home/data.jsonl", "other/data.jsonl", "home/out/none", "/etc/passwd", "/", "/none"});
}

TEST_F(PathPolicyTest, NobodyNamesWhatDaemonKeeps) {
  for (const PathPolicy& policy : {Policy({}), Policy({"/"}), Policy({dir_ / "state"})}) {
    for (const std::string& peer : {kUnix, kTcp}) {
      Expect(policy, peer, false,
             {"state", "state/token", "state/trainerd.db", "state/none", "state/runs/../token",
              "to_token", "state/runs-other/x"});
      Expect(policy, peer, true, {"state/runs/4f/final/config.json", "state/runs/../runs/4f"});
    }
  }
}

TEST_F(PathPolicyTest, ListReplacesDefaultOfBothKinds) {
  const PathPolicy policy = Policy({dir_ / "other", "/srv"});
  for (const std::string& peer : {kUnix, kTcp}) {
    Expect(policy, peer, true, {"other", "other/data.jsonl", "home/out/data.jsonl", "/srv/x"});
    Expect(policy, peer, false, {"home/data.jsonl", "others/x", "/srvx", "/etc/passwd", "/"});
  }
}

TEST_F(PathPolicyTest, HomeOfSystemUserOpensNothing) {
  const PathPolicy root({.state_dir = dir_ / "state", .home = "/", .allow_paths = {}});
  Expect(root, kTcp, false, {"/etc/passwd", "home/data.jsonl"});
  const PathPolicy none({.state_dir = dir_ / "state", .home = "", .allow_paths = {}});
  Expect(none, kTcp, false, {"/etc/passwd", "home/data.jsonl"});
}

TEST_F(PathPolicyTest, ChecksEveryPathOfAConfiguration) {
  v1::JobConfig config;
  config.mutable_model()->set_path("/x/model");
  config.mutable_data()->add_train()->set_path(dir_ / "home/data.jsonl");
  config.mutable_data()->add_train()->set_path("/x/d.jsonl");
  config.mutable_data()->set_validation("/x/v.jsonl");
  config.mutable_data()->set_chat_template("/x/t.jinja");
  config.mutable_samples()->set_prompts("/x/p.jsonl");
  config.mutable_output()->set_path("/x/out");
  config.mutable_init_from()->set_checkpoint("/x/c");
  config.mutable_lora()->set_adapter_path("/x/a");
  std::vector<ConfigViolation> violations;
  Policy({}).Check(config, kTcp, &violations);
  std::vector<std::string> paths;
  for (const ConfigViolation& violation : violations) {
    EXPECT_EQ(violation.reason, "PATH_NOT_ALLOWED");
    paths.push_back(violation.path);
  }
  EXPECT_EQ(paths, (std::vector<std::string>{"model.path", "data.train[1].path", "data.validation",
                                             "data.chat_template", "samples.prompts", "output.path",
                                             "init_from.checkpoint", "lora.adapter_path"}));
  violations.clear();
  Policy({}).Check(config, kUnix, &violations);
  EXPECT_TRUE(violations.empty());
  config.Clear();
  config.mutable_data()->set_chat_template("chatml");
  config.mutable_init_from()->set_checkpoint("jobs/4f");
  Policy({}).Check(config, kTcp, &violations);
  EXPECT_TRUE(violations.empty());
}

TEST_F(PathPolicyTest, MessageIsTheSameForPathThatDoesNotExist) {
  const auto message = [&](const std::string& path) {
    v1::JobConfig config;
    config.mutable_model()->set_path(path);
    std::vector<ConfigViolation> violations;
    Policy({}).Check(config, kTcp, &violations);
    return violations.empty() ? "" : violations[0].message.substr(path.size() + 1);
  };
  EXPECT_NE(message("/etc/passwd"), "");
  EXPECT_EQ(message("/etc/passwd"), message("/etc/nosuch"));
}

TEST_F(PathPolicyTest, SecretsOfTheDaemonAreNeverAllowed) {
  dir_.Write("home/tls/key.pem", "x");
  dir_.Write("home/tls/cert.pem", "x");
  dir_.Write("home/secret", "x");
  Link("home/tls/key.pem", "home/to_key");
  ASSERT_EQ(link((dir_ / "home/secret").c_str(), (dir_ / "home/hard").c_str()), 0);
  v1::ServerConfig config;
  config.mutable_tls()->set_certificate(dir_ / "home/tls/cert.pem");
  config.mutable_tls()->set_key(dir_ / "to_home/tls/key.pem");
  config.add_notify()->set_secret_file(dir_ / "home/secret");
  config.add_notify()->add_command("/bin/true");
  config.set_log_file(dir_ / "home/trainerd.log");
  const std::vector<std::string> files = PrivateFiles(config);
  EXPECT_EQ(files.size(), 3u);
  for (const std::vector<std::string>& allow :
       {std::vector<std::string>{}, std::vector<std::string>{"/"},
        std::vector<std::string>{dir_ / "home/tls"}}) {
    const PathPolicy policy({.state_dir = dir_ / "state",
                             .home = dir_ / "home",
                             .allow_paths = allow,
                             .private_files = files});
    for (const std::string& peer : {kUnix, kTcp}) {
      Expect(policy, peer, false,
             {"home/tls/key.pem", "to_home/tls/key.pem", "home/tls/../tls/key.pem", "home/to_key",
              "home/secret", "home/hard", "home/trainerd.log"});
      Expect(policy, peer, true, {"home/tls/cert.pem", "home/tls/key.pem.pub"});
    }
  }
  // The key is replaced while the daemon runs.
  const PathPolicy policy({.state_dir = dir_ / "state",
                           .home = dir_ / "home",
                           .allow_paths = {"/"},
                           .private_files = files});
  dir_.Write("home/tls/next.pem", "x");
  std::filesystem::remove(dir_ / "home/tls/key.pem");
  Link("home/tls/next.pem", "home/tls/key.pem");
  Expect(policy, kTcp, false, {"home/tls/next.pem", "home/tls/key.pem"});
}

}  // namespace
}  // namespace trainerd::server
