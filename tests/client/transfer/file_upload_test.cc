// SPDX-License-Identifier: Apache-2.0
// Uploads over calls that break, and the commands that use them.
#include "client/transfer/file_upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/client/transfer/transfer_fixture.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

class FileUploadTest : public TransferTest {
 protected:
  FileUploadTest() {
    auto connection = Connection::Open(address());
    EXPECT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
  }
  void ExpectSent(const std::string& bytes) {
    const auto file = SendFile(*connection_, {.path = folder_.Write("a.jsonl", bytes)});
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->name(), "files/" + ToHex(Sha256(bytes)));
    EXPECT_EQ(state_.uploads[ToHex(Sha256(bytes))], bytes);
  }

  std::unique_ptr<Connection> connection_;
};

TEST_F(FileUploadTest, SendsAFileOnce) {
  const std::string bytes = Bytes(2'500'000);
  ExpectSent(bytes);
  EXPECT_EQ(state_.upload_bytes, 2'500'000);
  ExpectSent(bytes);
  EXPECT_EQ(state_.upload_bytes, 2'500'000) << "the daemon has it";
  ExpectSent("");
}

TEST_F(FileUploadTest, ContinuesAfterEachBreak) {
  state_.break_upload_after = 1;
  ExpectSent(Bytes(3'500'000));
  EXPECT_EQ(state_.upload_bytes, 3'500'000);
}

TEST_F(FileUploadTest, SendsAgainWhatTheDaemonKeptDamaged) {
  const std::string bytes = Bytes(1'500'000);
  state_.uploads[ToHex(Sha256(bytes))] = Bytes(700'000, 9);
  ExpectSent(bytes);
}

TEST_F(FileUploadTest, SubmitSendsTheLocalFilesThatTheJobNames) {
  folder_.Write("d/train.jsonl", "train");
  folder_.Write("d/prompts.jsonl", "prompts");
  folder_.Write("d/chat.jinja", "template");
  std::filesystem::create_directories(folder_ / "tiny");
  folder_.Write("job.yaml",
                "model: {path: tiny}\n"
                "data: {train: [d/train.jsonl, /on/the/daemon.jsonl], "
                "chat_template: d/chat.jinja}\n"
                "samples: {prompts: d/prompts.jsonl}\n");
  const RunResult result = Run({"submit", "job.yaml", "--upload"});
  ASSERT_EQ(result.code, kDone) << result.err;
  ASSERT_EQ(store_.submits.size(), 2u);
  const auto upload = [](const std::string& bytes, const std::string& name) {
    return "files/" + ToHex(Sha256(bytes)) + "/" + name;
  };
  for (const v1::SubmitJobRequest& submit : store_.submits) {
    const v1::JobConfig& config = submit.config();
    EXPECT_EQ(config.data().train(0).path(), upload("train", "train.jsonl"));
    EXPECT_EQ(config.data().train(1).path(), "/on/the/daemon.jsonl");
    EXPECT_EQ(config.data().chat_template(), upload("template", "chat.jinja"));
    EXPECT_EQ(config.samples().prompts(), upload("prompts", "prompts.jsonl"));
    EXPECT_EQ(config.model().path(), folder_ / "tiny") << "no folder is sent";
  }
  EXPECT_EQ(state_.uploads.size(), 3u);
  // Without the flag nothing is sent, and a name of an upload is no path of this machine.
  EXPECT_EQ(
      Run({"submit", "job.yaml", "--set", "data.validation=" + upload("train", "held_out.jsonl")})
          .code,
      kDone);
  EXPECT_EQ(store_.submits.back().config().data().train(0).path(), folder_ / "d/train.jsonl");
  EXPECT_EQ(store_.submits.back().config().data().validation(), upload("train", "held_out.jsonl"));
}

TEST_F(FileUploadTest, FilesListsAndRemoves) {
  ExpectSent("one");
  ExpectSent("two");
  const std::string one = ToHex(Sha256("one")), two = ToHex(Sha256("two"));
  const RunResult table = Run({"files"});
  EXPECT_EQ(table.code, kDone) << table.err;
  EXPECT_THAT(table.out, HasSubstr(one.substr(0, 12)));
  EXPECT_EQ(nlohmann::json::parse(Run({"files", "-o", "json"}).out)["files"].size(), 2u);
  EXPECT_EQ(Run({"files", "rm", "zzz"}).code, kRefused);
  const RunResult removed = Run({"files", "rm", one.substr(0, 10)});
  EXPECT_EQ(removed.out, "files/" + one + " removed\n") << removed.err;
  EXPECT_EQ(Run({"files", "rm", "files/" + two, "-o", "jsonl"}).code, kDone);
  EXPECT_TRUE(state_.uploads.empty());
  EXPECT_EQ(Run({"files", "other"}).code, kUsage);
}

}  // namespace
}  // namespace trainerd::client
