// SPDX-License-Identifier: Apache-2.0
// trainctl validate, with a script in place of trainerd-inspect. Text of the report:
// output_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// --quick reports a model without weights, the full check a bad record too.
constexpr char kInspect[] = R"sh(#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
case "$*" in
  *--quick*)
    echo '{"quick":true,"examples":"7","tokens":{"count":"5","total":"99"},'\
'"findings":[{"code":"MODEL_FOLDER","error":true,"count":"1","message":"no weights"}]}'
    exit 2 ;;
  *)
    cat "$(dirname "$0")/full"
    echo "a note of reading" >&2
    exit "$(cat "$(dirname "$0")/exit")" ;;
esac
)sh";

class ValidateTest : public ::testing::Test {
 protected:
  ValidateTest() {
    folder_.Write("job.yaml", "model:\n  path: tiny\ndata: {train: a.jsonl}\n");
    folder_.Write("trainerd-inspect", kInspect, 0700);
    folder_.Write("full", R"({"examples":"8","findings":[{"code":"MODEL_FOLDER","error":true,)"
                          R"("count":"1","message":"no weights"},{"code":"BAD_JSON","error":true,)"
                          R"("count":"1","first_places":["a.jsonl:3"],"message":"not JSON"}]})");
    folder_.Write("exit", "2");
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  // What the daemon of this user would write to.
  std::string DefaultRuns() const { return folder_.path() + "/runs"; }
  std::string Calls() const {
    std::ifstream file(folder_.path() + "/calls");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  TempDir folder_;
};

TEST_F(ValidateTest, RunsInspectWithoutADaemonAndListsWhatIsNotChecked) {
  const RunResult result = Run({"validate", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("no daemon answers; reading the data locally. Not checked: "
                                    "output.path, resources.device, "));
  EXPECT_THAT(result.out, HasSubstr("error MODEL_FOLDER: no weights [job.yaml:2]\n"));
  EXPECT_THAT(result.out, HasSubstr("only the beginning and end of each file were read"));
  EXPECT_EQ(Calls(), "validate --job " + folder_.path() + "/job.yaml --runs-dir " + DefaultRuns() +
                         " --quick\n");
  const RunResult json = Run({"validate", "job.yaml", "-o", "jsonl"});
  EXPECT_THAT(json.out, HasSubstr("{\"examples\":7,"));
}

TEST_F(ValidateTest, FullReadsAllDataInOneRunOfInspect) {
  FakeStore store;
  const FakeDaemon daemon(&store, SocketOf(folder_.path()));
  const RunResult result = Run({"validate", "--full", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_TRUE(store.submits.empty()) << "the daemon is not called";
  EXPECT_THAT(result.err, HasSubstr("reading all data locally, without the daemon. Not checked"));
  EXPECT_THAT(result.err, HasSubstr("a note of reading\n"));
  EXPECT_EQ(result.out,
            "examples          8\n"
            "error MODEL_FOLDER: no weights [job.yaml:2]\n"
            "error BAD_JSON: not JSON [a.jsonl:3]\n");
  EXPECT_EQ(Calls(),
            "validate --job " + folder_.path() + "/job.yaml --runs-dir " + DefaultRuns() + "\n");
  const RunResult json = Run({"validate", "--full", "job.yaml", "-o", "jsonl"});
  EXPECT_EQ(json.code, kUsage);
  const auto report = nlohmann::json::parse(json.out);
  EXPECT_EQ(report["examples"], 8);
  EXPECT_EQ(report["findings"][0]["code"], "MODEL_FOLDER");
  EXPECT_EQ(report["findings"][0]["count"], 1);
  EXPECT_THAT(json.out, HasSubstr("BAD_JSON"));
}

TEST_F(ValidateTest, FullTakesSetValuesAndSucceedsWithoutErrors) {
  folder_.Write("trainerd-inspect",
                "#!/bin/sh\ncat \"$3\" > \"$(dirname \"$0\")/job\"\necho '{\"examples\":\"8\"}'\n",
                0700);
  const RunResult result = Run({"validate", "--full", "job.yaml", "--set", "data.max_length=64"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "examples          8\nno findings\n");
  std::ifstream job(folder_.path() + "/job");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(job), {}), HasSubstr("max_length: 64"));
}

TEST_F(ValidateTest, ReportsWhyAFullReadCannotStart) {
  folder_.Write("full", "");
  const RunResult result = Run({"validate", "--full", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("a note of reading\n"));
  folder_.Write("exit", "1");
  EXPECT_EQ(Run({"validate", "--full", "job.yaml"}).code, kRefused);
}

TEST_F(ValidateTest, SubmitAndValidatePrintTheSameReport) {
  FakeStore store;
  store.on_submit = [](const v1::SubmitJobRequest&, v1::SubmitJobResponse* response) {
    v1::DataReport& report = *response->mutable_report();
    report.set_quick(true);
    report.set_examples(5);
    report.mutable_tokens()->set_count(5);
    report.mutable_tokens()->set_total(640);
    return grpc::Status::OK;
  };
  const FakeDaemon daemon(&store, SocketOf(folder_.path()));
  const RunResult result = Run({"validate", "job.yaml"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, HasSubstr("tokens            about 640 (estimated"));
  EXPECT_THAT(result.out, Not(HasSubstr("p50")));
  EXPECT_EQ(Run({"submit", "job.yaml", "--validate-only"}).out, result.out);
}

}  // namespace
}  // namespace trainerd::client
