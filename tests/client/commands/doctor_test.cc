// SPDX-License-Identifier: Apache-2.0
// trainctl doctor with and without a daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "nlohmann/json.hpp"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

// The findings of one check, as text.
std::string Of(const std::string& check, const RunResult& result) {
  std::string text;
  const nlohmann::json document = nlohmann::json::parse(result.out);
  for (const auto& finding : document["findings"]) {
    if (finding["check"] == check) text += finding.dump() + "\n";
  }
  return text;
}

TEST(DoctorTest, WorksWithoutADaemon) {
  const TempDir folder;
  const auto run = [&] {
    return Trainctl(folder.path(), {"doctor", "-o", "json"},
                    [&](Environment* env) { env->programs_dir = folder.path(); });
  };
  const RunResult client = run();
  EXPECT_THAT(Of("daemon", client), HasSubstr("\"level\":\"note\""));
  EXPECT_THAT(Of("programs", client), HasSubstr("\"level\":\"note\"")) << "a client alone";
  std::ofstream(folder / "trainerd") << "#!/bin/sh\n";
  ASSERT_EQ(::chmod((folder / "trainerd").c_str(), 0755), 0);
  const RunResult result = run();
  EXPECT_EQ(result.code, kProblemFound);
  EXPECT_THAT(Of("programs", result), HasSubstr("trainerd-shim"));
  EXPECT_THAT(Of("disk", result), HasSubstr("free"));
  for (const char* check : {"clock", "limits", "permissions"})
    EXPECT_THAT(Of(check, result), HasSubstr("message")) << check;
}

TEST(DoctorTest, AsksTheDaemonAndReadsItsDirectory) {
  const TempDir folder;
  FakeStore store;
  FakeDaemon daemon(&store, SocketOf(folder.path()));
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  const RunResult result = Trainctl(folder.path(), {"doctor", "-o", "json"});
  EXPECT_EQ(result.code, kProblemFound);
  EXPECT_THAT(Of("daemon", result), HasSubstr("answers"));
  EXPECT_THAT(Of("versions", result), HasSubstr("0.0.7"));
  EXPECT_THAT(Of("permissions", result), HasSubstr("chmod 0700 " + folder.path()));
  EXPECT_THAT(Of("devices", result), HasSubstr("cpu"));
  EXPECT_EQ(nlohmann::json::parse(result.out)["ok"], false);
  const RunResult text = Trainctl(folder.path(), {"doctor"});
  EXPECT_EQ(text.code, result.code);
  EXPECT_THAT(text.out, HasSubstr("    chmod 0700"));
}

TEST(DoctorTest, ADaemonWithAnOlderRevisionIsAFinding) {
  const TempDir folder;
  FakeStore store;
  store.api_revision = kApiRevision - 1;
  FakeDaemon daemon(&store, SocketOf(folder.path()));
  const RunResult result = Trainctl(folder.path(), {"doctor", "-o", "json"});
  EXPECT_EQ(result.code, kProblemFound);
  EXPECT_THAT(Of("versions", result), HasSubstr("older than this trainctl"));
}

}  // namespace
}  // namespace trainerd::client
