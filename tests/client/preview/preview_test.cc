// SPDX-License-Identifier: Apache-2.0
// What the real trainerd-inspect prints is tested with it; here it is a script (preview_fixture.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/preview/preview_fixture.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(PreviewTest, MarksTheTrainedPartWithBracketsOnAPipe) {
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml", "--limit", "2"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out,
            "--- example 0: 4 tokens, 2 trained (50 %)\nab[[cd]]\n"
            "--- example 1 (skipped: no target): 2 tokens, 0 trained (0 %)\nab\n");
  EXPECT_EQ(Calls(), "preview --job " + folder_.path() + "/job.yaml --limit 2 --json\n")
      << "one run of trainerd-inspect";
}

TEST_F(PreviewTest, MarksTheTrainedPartWithColorOnATerminal) {
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml"}, [](Environment* env) {
    env->out_is_terminal = env->color = true;
  });
  EXPECT_THAT(result.out, HasSubstr("ab\x1b[32mcd\x1b[0m"));
  EXPECT_THAT(result.out, Not(HasSubstr("[[")));
}

TEST_F(PreviewTest, PrintsPackedSequencesByConversation) {
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml", "--packed"});
  EXPECT_EQ(result.out,
            "--- row 0, example 4: 2 tokens, 1 trained (50 %)\na[[b]]\n"
            "--- row 0, example 2: 2 tokens, 0 trained (0 %)\ncd\n");
}

TEST_F(PreviewTest, PassesJsonThroughOrPrintsOneDocument) {
  const RunResult raw = Trainctl(folder_.path(), {"preview", "job.yaml", "--packed", "--json"});
  EXPECT_EQ(raw.out,
            "{\"row\":0,\"index\":[4,2],\"cu_seqlens\":[0,2,4],\"ids\":[97,98,99,100],\"labels\":[-"
            "100,98,-100,-100],\"tokens\":[\"a\",\"b\",\"c\",\"d\"]}\n");
  const RunResult document = Trainctl(folder_.path(), {"-o", "json", "preview", "job.yaml"});
  EXPECT_EQ(document.out.front(), '[');
  EXPECT_THAT(document.out, HasSubstr("},{"));
  EXPECT_EQ(document.out.find('\n'), document.out.size() - 1);
}

TEST_F(PreviewTest, PassesSetValuesInAFile) {
  const RunResult result =
      Trainctl(folder_.path(), {"preview", "job.yaml", "--set", "data.max_length=64"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(Calls(), Not(HasSubstr("--job " + folder_.path() + "/job.yaml")));
}

TEST_F(PreviewTest, ReportsErrorsAndAbsenceOfInspect) {
  folder_.Write("trainerd-inspect", "#!/bin/sh\necho 'a.jsonl: no such file' >&2\nexit 2\n", 0700);
  RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml"});
  EXPECT_EQ(result.code, kUsage);
  EXPECT_THAT(result.err, HasSubstr("a.jsonl: no such file"));
  std::filesystem::remove(folder_.path() + "/trainerd-inspect");
  result = Trainctl(folder_.path(), {"preview", "job.yaml"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_THAT(result.err, HasSubstr("TRAINERD_INSPECT"));
}

TEST_F(PreviewTest, PrintsConversationsWithoutTokens) {
  folder_.Write(
      "trainerd-inspect",
      "#!/bin/sh\n"
      "echo '{\"index\":0,\"text\":\"\",\"ids\":[],\"labels\":[],\"tokens\":[],\"left_out\":\"bad "
      "row\"}'\n",
      0700);
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(result.out, "--- example 0 (skipped: bad row): 0 tokens, 0 trained (0 %)\n\n");
  EXPECT_EQ(Trainctl(folder_.path(), {"preview", "job.yaml", "--html", "page.html"}).code, kDone);
}

TEST_F(PreviewTest, AdvisesHowToSkipABadRecord) {
  const std::string row = folder_.path() + "/a.jsonl:2:2: the line is not JSON";
  const std::string advice = "; fix the record, or set data.bad_rows: skip";
  const auto fail = [&](const std::string& message) {
    folder_.Write("trainerd-inspect", "#!/bin/sh\necho '" + message + "' >&2\nexit 2\n", 0700);
  };
  const auto errors = [&](const std::vector<std::string>& sets) {
    std::vector<std::string> arguments = {"preview", "job.yaml"};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return Trainctl(folder_.path(), arguments).err;
  };
  fail(row);
  EXPECT_EQ(errors({}), "trainctl: " + row + advice + "\n") << "one line, and no empty one";
  // Not where it does not help or is already in the message.
  EXPECT_EQ(errors({"data.bad_rows=skip"}), "trainctl: " + row + "\n");
  EXPECT_EQ(errors({"data.too_long=fail"}), "trainctl: " + row + "\n");
  fail(row + advice);
  EXPECT_EQ(errors({}), "trainctl: " + row + advice + "\n");
  const std::string no_file = "open " + folder_.path() + "/a.jsonl: no such file";
  fail(no_file);
  EXPECT_EQ(errors({}), "trainctl: " + no_file + "\n");
}

}  // namespace
}  // namespace trainerd::client
