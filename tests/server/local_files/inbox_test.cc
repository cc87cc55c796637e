// SPDX-License-Identifier: Apache-2.0
// What happens to a file of the inbox. The submit is a function of the test.
#include "server/local_files/inbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kJob[] = "model: {path: /m}\ndata: {train: [d.jsonl]}\n";

class InboxTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    auto inbox = Inbox::Open({.folder = dir_ / "in",
                              .submit = [this](const auto& request) { return Submit(request); },
                              .clock = clock_.Function()});
    ASSERT_OK(inbox.status());
    inbox_ = *std::move(inbox);
  }
  // As the daemon: one job for each request_id.
  absl::StatusOr<v1::SubmitJobResponse> Submit(const v1::SubmitJobRequest& request) {
    requests_.push_back(request);
    if (!answer_.ok()) return answer_;
    v1::SubmitJobResponse response;
    jobs_.insert(request.request_id());
    response.mutable_job()->set_name("jobs/" + std::to_string(jobs_.size()));
    return response;
  }
  std::string Write(const std::string& name, const std::string& text = kJob) {
    return dir_.Write("in/" + name, text);
  }
  // The daemon reads the folder, and again after the time in which a file settles.
  void Settle() {
    inbox_->ReadOnce();
    clock_.Advance(absl::Seconds(1));
    inbox_->ReadOnce();
  }
  std::vector<std::string> Files(const std::string& folder) {
    std::vector<std::string> files;
    const auto names = ListDirectory(dir_ / folder);
    if (!names.ok()) return {names.status().ToString()};
    for (const std::string& name : *names) {
      if (!IsFolder(dir_ / folder + "/" + name)) files.push_back(name);
    }
    return files;
  }

  TempDir dir_;
  FakeClock clock_;
  absl::Status answer_;
  std::vector<v1::SubmitJobRequest> requests_;
  std::set<std::string> jobs_;
  std::unique_ptr<Inbox> inbox_;
};

TEST_F(InboxTest, SubmitsAFileOnceAndMovesIt) {
  Write("sft.yaml");
  Write("other.yml", "name: own\n" + std::string(kJob));
  Write("notes.txt");
  Write(".hidden.yaml");
  Settle();
  Settle();
  ASSERT_EQ(requests_.size(), 2u);
  EXPECT_EQ(requests_[0].config().name(), "own");
  EXPECT_EQ(requests_[1].config().name(), "sft");
  EXPECT_EQ(requests_[1].config().data().train(0).path(), dir_ / "in/d.jsonl");
  EXPECT_THAT(Files("in"), UnorderedElementsAre("notes.txt", ".hidden.yaml"));
  EXPECT_THAT(Files("in/accepted"), UnorderedElementsAre("sft.yaml", "other.yml"));
  EXPECT_THAT(Files("in/rejected"), IsEmpty());
}

TEST_F(InboxTest, RejectsWithFileLineAndReason) {
  Write("bad.yaml", "model: {path: /m}\ndata: {train: [/d]}\ntrain: {sed: 1}\n");
  Write("broken.yaml", "a: [");
  Settle();
  EXPECT_THAT(requests_, IsEmpty());
  EXPECT_THAT(Files("in/rejected"), UnorderedElementsAre("bad.yaml", "bad.yaml.reason",
                                                         "broken.yaml", "broken.yaml.reason"));
  EXPECT_THAT(ReadFile(dir_ / "in/rejected/bad.yaml.reason").value_or(""),
              HasSubstr("bad.yaml:3: train.sed: "));
  answer_ = absl::InvalidArgumentError("model.path: /m does not exist");
  Write("bad.yaml");
  Settle();
  EXPECT_THAT(ReadFile(dir_ / "in/rejected/bad-2.yaml.reason").value_or(""),
              HasSubstr("/m does not exist"));
  EXPECT_THAT(Files("in"), IsEmpty());
}

TEST_F(InboxTest, AFileThatIsBeingWrittenWaits) {
  const std::string path = Write("job.yaml", "model: {path: /m}\n");
  Fd writer(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  for (int i = 0; i < 5; ++i) Settle();
  EXPECT_THAT(requests_, IsEmpty()) << "it is open for writing";
  ASSERT_OK(WriteAll(writer.get(), "data: {train: [/d]}\n", path));
  writer.Reset();
  inbox_->ReadOnce();
  EXPECT_THAT(requests_, IsEmpty()) << "it has changed since it was read";
  clock_.Advance(absl::Seconds(1));
  inbox_->ReadOnce();
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0].config().data().train(0).path(), "/d");
}

// The daemon is killed after the submit and before the move.
TEST_F(InboxTest, ASubmitThatIsRepeatedHasTheSameRequestId) {
  Write("job.yaml");
  Write("copy.yaml");
  std::filesystem::rename(dir_ / "in/accepted", dir_ / "aside");
  Settle();
  EXPECT_EQ(jobs_.size(), 2u) << "a copy is another job";
  EXPECT_THAT(Files("in"), UnorderedElementsAre("job.yaml", "copy.yaml"));
  std::filesystem::rename(dir_ / "aside", dir_ / "in/accepted");
  Open();
  Settle();
  EXPECT_GE(requests_.size(), 4u);
  EXPECT_EQ(jobs_.size(), 2u);
  EXPECT_THAT(Files("in/accepted"), UnorderedElementsAre("job.yaml", "copy.yaml"));
}

TEST_F(InboxTest, TheSameNameAgainIsAnotherJob) {
  Write("job.yaml");
  Settle();
  Write("job.yaml");
  Settle();
  EXPECT_EQ(jobs_.size(), 2u);
  EXPECT_THAT(Files("in/accepted"), UnorderedElementsAre("job.yaml", "job-2.yaml"));
}

TEST_F(InboxTest, WhatCanSucceedLaterStays) {
  answer_ = absl::ResourceExhaustedError("the queue is full");
  Write("job.yaml");
  Settle();
  Settle();
  EXPECT_EQ(requests_.size(), 1u) << "not at once";
  EXPECT_THAT(Files("in"), ElementsAre("job.yaml"));
  answer_ = absl::OkStatus();
  clock_.Advance(absl::Seconds(5));
  inbox_->ReadOnce();
  EXPECT_EQ(requests_.size(), 2u);
  EXPECT_THAT(Files("in/accepted"), ElementsAre("job.yaml"));
}

TEST_F(InboxTest, OpensOnlyRegularFiles) {
  ASSERT_EQ(::mkfifo((dir_ / "in/pipe.yaml").c_str(), 0600), 0);
  dir_.Write("elsewhere.yaml", kJob);
  std::filesystem::create_symlink(dir_ / "elsewhere.yaml", dir_ / "in/link.yaml");
  std::filesystem::create_directory(dir_ / "in/folder.yaml");
  Write("large.yaml", std::string((4 << 20) + 1, '#'));
  Settle();
  EXPECT_THAT(requests_, IsEmpty());
  EXPECT_THAT(ReadFile(dir_ / "in/rejected/pipe.yaml.reason").value_or(""), HasSubstr("a pipe"));
  EXPECT_THAT(ReadFile(dir_ / "in/rejected/link.yaml.reason").value_or(""),
              HasSubstr("symbolic link"));
  EXPECT_THAT(ReadFile(dir_ / "in/rejected/large.yaml.reason").value_or(""), HasSubstr("limit"));
  EXPECT_TRUE(ReadFile(dir_ / "elsewhere.yaml").ok());
  EXPECT_TRUE(IsFolder(dir_ / "in/folder.yaml"));
}

TEST_F(InboxTest, RefusesAFolderThatEveryUserMayWriteTo) {
  ASSERT_EQ(::chmod((dir_ / "in").c_str(), 0777), 0);
  const absl::Status status = Inbox::Open({.folder = dir_ / "in"}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("chmod o-w"));
}

}  // namespace
}  // namespace trainerd::server
