// SPDX-License-Identifier: Apache-2.0
// Addresses, absent daemons, old daemons and broken calls. Exit codes are those of the stable
// command line.
#include "client/net/connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "client/net/status_details.h"
#include "proto/contract/job/revision.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

TEST(ConnectionTest, ReportsHowToStartADaemon) {
  const TempDir folder;
  for (const std::vector<std::string>& command : {std::vector<std::string>{"ls"},
                                                  {"get", "latest"},
                                                  {"watch", "x"},
                                                  {"pause", "x"},
                                                  {"logs", "x"},
                                                  {"wait", "x"},
                                                  {"rm", "x"}}) {
    const RunResult result = Trainctl(folder.path(), command);
    EXPECT_EQ(result.code, kUnreachable) << command[0];
    EXPECT_THAT(result.err, HasSubstr("no daemon answers at " + SocketOf(folder.path())));
    EXPECT_THAT(result.err, HasSubstr("start one with `trainerd`"));
    EXPECT_EQ(result.out, "");
  }
  const RunResult named = Trainctl(
      folder.path(), {"--address", "unix:" + folder.path() + "/other/trainerd.sock", "ls"});
  EXPECT_THAT(named.err, HasSubstr("`trainerd --state-dir " + folder.path() + "/other`"));
}

TEST(ConnectionTest, DistinguishesUnservedFromAbsentSocket) {
  const TempDir folder;
  const std::string path = folder.path() + "/trainerd.sock";
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{.sun_family = AF_UNIX};
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  close(fd);  // what kill -9 of a daemon leaves
  const RunResult result = Trainctl(folder.path(), {"ls"});
  EXPECT_EQ(result.code, kUnreachable);
  EXPECT_THAT(result.err, HasSubstr("no process listens"));
}

TEST(ConnectionTest, RefusesAnOlderDaemonWithBothRevisions) {
  const TempDir folder;
  FakeStore store;
  store.api_revision = kApiRevision - 1;
  const FakeDaemon daemon(&store, SocketOf(folder.path()));
  const RunResult result = Trainctl(folder.path(), {"ls"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr(absl::StrCat("trainerd 0.0.7, API revision ", kApiRevision - 1,
                                                 ") is older than this trainctl")));
  EXPECT_THAT(result.err, HasSubstr("restart the daemon"));
  const RunResult version = Trainctl(folder.path(), {"version"});
  EXPECT_EQ(version.code, kDone);
  EXPECT_THAT(version.out, HasSubstr("trainerd 0.0.7"));
  EXPECT_THAT(version.err, HasSubstr("older"));
}

TEST(ConnectionTest, HealthIsTheAnswerOfTheHealthService) {
  const TempDir folder;
  const RunResult absent = Trainctl(folder.path(), {"health"});
  EXPECT_EQ(absent.code, kUnreachable);
  EXPECT_THAT(absent.err, HasSubstr("no daemon answers at " + SocketOf(folder.path())));
  EXPECT_EQ(absent.out, "");
  FakeStore store;
  // Other versions and daemons that refuse other calls are healthy, too.
  store.api_revision = kApiRevision - 1;
  grpc::EnableDefaultHealthCheckService(true);
  {
    const FakeDaemon daemon(&store, SocketOf(folder.path()), /*with_admin=*/false);
    const RunResult text = Trainctl(folder.path(), {"health"});
    EXPECT_EQ(text.code, kDone) << text.err;
    EXPECT_EQ(text.out, "serving\n");
    EXPECT_EQ(Trainctl(folder.path(), {"health", "-o", "json"}).out, "{\"status\":\"SERVING\"}\n");
    EXPECT_EQ(Trainctl(folder.path(), {"health", "-o", "yaml"}).out, "status: SERVING\n");
    daemon.StopServing();
    const RunResult stopped = Trainctl(folder.path(), {"health"});
    EXPECT_EQ(stopped.code, kUnreachable);
    EXPECT_THAT(stopped.err, HasSubstr("does not serve"));
  }
  grpc::EnableDefaultHealthCheckService(false);
  const FakeDaemon without(&store, SocketOf(folder.path()));
  EXPECT_EQ(Trainctl(folder.path(), {"health"}).code, kRefused);
}

TEST(ConnectionTest, TreatsADaemonWithoutServerInfoAsOlder) {
  const TempDir folder;
  FakeStore store;
  const FakeDaemon daemon(&store, SocketOf(folder.path()), /*with_admin=*/false);
  const RunResult result = Trainctl(folder.path(), {"ls"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("older than this trainctl"));
}

TEST(ConnectionTest, VersionShowsClientAndDaemon) {
  const TempDir folder;
  RunResult result = Trainctl(folder.path(), {"version"});
  EXPECT_EQ(result.code, kUnreachable);
  EXPECT_THAT(result.out, HasSubstr("trainctl "));
  FakeStore store;
  const FakeDaemon daemon(&store, SocketOf(folder.path()));
  result = Trainctl(folder.path(), {"version"});
  EXPECT_EQ(result.code, kDone);
  EXPECT_THAT(result.out, HasSubstr("pid 42"));
  EXPECT_THAT(result.out, HasSubstr("device cpu: test, free"));
  result = Trainctl(folder.path(), {"version", "-o", "json"});
  EXPECT_THAT(result.out, HasSubstr("\"daemon\":{\"version\":\"0.0.7\""));
}

TEST(ConnectionTest, ConnectsToAPathOfTwoHundredCharacters) {
  const TempDir folder;
  const std::string deep = folder.path() + "/" + std::string(200, 'd');
  std::filesystem::create_directory(deep);
  // A server cannot bind so long a path either: it goes through a descriptor of the folder.
  const int fd = open(deep.c_str(), O_PATH | O_DIRECTORY);
  FakeStore store;
  const FakeDaemon daemon(&store, "unix:/proc/self/fd/" + std::to_string(fd) + "/trainerd.sock");
  const RunResult result = Trainctl(deep, {"version"});
  EXPECT_EQ(result.code, kDone) << result.err;
  close(fd);
  EXPECT_EQ(Trainctl(deep + "/none", {"ls"}).code, kUnreachable);
}

TEST(ConnectionTest, SendsTheTokenOfTheFileOverTcp) {
  const TempDir folder;
  FakeStore store;
  const FakeDaemon daemon(&store, "127.0.0.1:0");
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port());
  RunResult result = Trainctl(folder.path(), {"--address", address, "ls"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("--token-file"));
  folder.Write("token", "secret-1\n");
  EXPECT_EQ(Trainctl(folder.path(), {"--address", address, "ls"}).code, kDone);
  EXPECT_EQ(store.authorization, "Bearer secret-1");
  folder.Write("other", "secret-2");
  EXPECT_EQ(Trainctl(folder.path(), {"ls"},
                     [&](Environment* env) {
                       env->address = address;
                       env->token_file = "other";
                     })
                .code,
            kDone);
  EXPECT_EQ(store.authorization, "Bearer secret-2");
  folder.Write("empty", "\n");
  EXPECT_THAT(Trainctl(folder.path(), {"--address", address, "--token-file", "empty", "ls"}).err,
              HasSubstr("is empty"));
}

TEST(ConnectionTest, NamesTheSourceOfARefusedToken) {
  const TempDir folder;
  folder.Write("token", "old");
  folder.Write("other", "older");
  FakeStore store;
  store.accepted_authorization = "Bearer new";
  const FakeDaemon daemon(&store, "127.0.0.1:0");
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port());
  RunResult result = Trainctl(folder.path(), {"--address", address, "ls"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_EQ(result.err,
            "trainctl: the daemon at " + address + " refused the token of " + folder.path() +
                "/token (the default state directory); set --token-file or TRAINERD_TOKEN_FILE to "
                "the file `token` in the state directory of that daemon\n");
  result = Trainctl(folder.path(), {"--address", address, "--token-file", "other", "version"});
  EXPECT_THAT(result.err, HasSubstr("/other (--token-file); set"));
  result = Trainctl(folder.path(), {"--address", address, "ls"},
                    [](Environment* env) { env->token_file = "other"; });
  EXPECT_THAT(result.err, HasSubstr("/other (TRAINERD_TOKEN_FILE); set"));
}

TEST(ConnectionTest, RefusesMalformedAddresses) {
  const TempDir folder;
  for (const char* address : {"localhost", "host:port", "host:99999", "unix:"}) {
    EXPECT_EQ(Trainctl(folder.path(), {"--address", address, "ls"}).code, kUsage) << address;
  }
}

TEST(ConnectionTest, RepeatsABrokenCallWithTheSameRequestId) {
  const TempDir folder;
  folder.Write("job.yaml", "model: {path: m}\ndata: {train: a.jsonl}\n");
  FakeStore store;
  std::atomic<int> calls{0};
  store.on_submit = [&](const v1::SubmitJobRequest& request, v1::SubmitJobResponse* response) {
    // The first call is stored, but its answer is lost.
    if (calls++ == 0) return grpc::Status(grpc::UNAVAILABLE, "Socket closed");
    response->mutable_job()->set_name("jobs/one");
    return grpc::Status::OK;
  };
  const FakeDaemon daemon(&store, SocketOf(folder.path()));
  const RunResult result = Trainctl(folder.path(), {"submit", "--no-validate", "job.yaml"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "jobs/one\n");
  ASSERT_EQ(store.submits.size(), 2u);
  EXPECT_EQ(store.submits[0].request_id().size(), 32u);
  EXPECT_EQ(store.submits[0].request_id(), store.submits[1].request_id());
}

TEST(ConnectionTest, WaitsForItsTurnToInspect) {
  TempDir folder;
  FakeStore store;
  store.on_submit = [&](const v1::SubmitJobRequest&, v1::SubmitJobResponse* response) {
    if (store.submits.size() < 3)
      return Refuse(grpc::RESOURCE_EXHAUSTED, "4 inspections run", "INSPECTIONS");
    response->mutable_report()->set_examples(7);
    return grpc::Status::OK;
  };
  const FakeDaemon daemon(&store, SocketOf(folder.path()));
  Address address;
  address.socket_path = SocketOf(folder.path()).substr(std::string("unix:").size());
  const auto connection = Connection::Open(address);
  ASSERT_TRUE(connection.ok()) << connection.status();
  v1::SubmitJobRequest request;
  request.set_validate_only(true);
  const auto response = (*connection)->SubmitJob(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->report().examples(), 7);
  EXPECT_EQ(store.submits.size(), 3u);
}

TEST(StatusDetailsTest, ReadsCodesReasonsAndDelays) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  details.add_details()->PackFrom(info);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(3);
  details.add_details()->PackFrom(retry);
  absl::Status status = absl::ResourceExhaustedError("the queue is full");
  AttachDetails(details.SerializeAsString(), &status);
  EXPECT_EQ(Reason(status), "QUEUE_FULL");
  EXPECT_EQ(RetryDelay(status), absl::Seconds(3));
  EXPECT_EQ(ExitCodeOf(status), kRefused);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), kUsage);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), kTimeout);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), kRefused);
  EXPECT_TRUE(IsConnectionLost(absl::UnknownError("Stream removed")));
  EXPECT_FALSE(IsConnectionLost(status));
}

}  // namespace
}  // namespace trainerd::client
