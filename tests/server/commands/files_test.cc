// SPDX-License-Identifier: Apache-2.0
// Uploads in jobs: which are accepted, kept and removed.
#include "server/commands/files.h"

#include "proto/base/crc32c.h"
#include "proto/contract/config/config_paths.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

class FilesTest : public JobManagerTest {
 protected:
  FilesTest() {
    files_ = std::make_unique<FileStore>(
        FileStore::Options{.dir = dir_ / "state/files", .max_bytes = 1'000'000}, *store_);
    jobs_ = std::make_unique<JobManager>(
        JobManager::Options{.runs_dir = dir_ / "state/runs",
                            .paths = PathPolicy({.state_dir = dir_ / "state"}),
                            .files = files_.get(),
                            .clock = clock_.Function()},
        *store_, devices_);
  }
  ~FilesTest() override { jobs_.reset(); }
  // Returns files/SHA256.
  std::string Upload(const std::string& bytes, bool complete = true) {
    v1::UploadFileRequest request;
    request.set_sha256(Sha256(bytes));
    request.set_size_bytes(static_cast<int64_t>(bytes.size()));
    request.set_data(bytes);
    request.set_crc32c(Crc32c(bytes));
    EXPECT_OK(
        files_->Begin(request, "unix:", [](const auto&, const auto&) { return absl::OkStatus(); })
            .status());
    EXPECT_OK(files_->Append(ToHex(Sha256(bytes)), request));
    if (complete) EXPECT_OK(files_->Finish(ToHex(Sha256(bytes)), nullptr).status());
    return "files/" + ToHex(Sha256(bytes));
  }
  absl::StatusOr<v1::File> Delete(const std::string& name, const std::string& request_id = "") {
    v1::DeleteFileRequest request;
    request.set_name(name);
    request.set_request_id(request_id);
    return DeleteFile(*store_, *files_, request, "unix:");
  }
  absl::StatusOr<v1::SubmitJobResponse> SubmitWith(const std::string& validation,
                                                   const std::string& peer = "unix:") {
    v1::SubmitJobRequest request = Request();
    request.mutable_config()->mutable_data()->set_validation(validation);
    return jobs_->Submit(request, peer);
  }

  std::unique_ptr<FileStore> files_;
};

TEST_F(FilesTest, AJobNamesUploadsWhereItNamesFiles) {
  const std::string file = Upload("{}\n");
  v1::SubmitJobRequest request = Request();
  v1::DataConfig& data = *request.mutable_config()->mutable_data();
  data.mutable_train(0)->set_path(file + "/train.jsonl");
  data.set_validation(file + "/held_out.jsonl");
  data.set_chat_template(file + "/chat.jinja");
  request.mutable_config()->mutable_samples()->set_prompts(file + "/prompts.jsonl");
  // Whatever the paths that a caller may name are.
  EXPECT_EQ(Fields(jobs_->Submit(request, "ipv4:127.0.0.1:1").status()),
            std::vector<std::string>{"model.path"});
  const auto job = jobs_->Submit(request, "unix:");
  ASSERT_OK(job.status());
  EXPECT_EQ(job->job().config().data().train(0).path(), file + "/train.jsonl");
  v1::JobConfig config = job->job().config();
  ReplaceUploads(&config,
                 [&](const UploadPath& upload) { return UploadLocation(files_->dir(), upload); });
  for (const std::string& path : {config.data().train(0).path(), config.data().validation(),
                                  config.data().chat_template(), config.samples().prompts()}) {
    std::ifstream stored(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stored), {}), "{}\n") << path;
  }
  EXPECT_TRUE(files_->Find(file.substr(6))->has_last_use_time());
}

TEST_F(FilesTest, RefusesUploadsThatAJobCannotUse) {
  const std::string missing = "files/" + std::string(64, 'a');
  const absl::Status status = SubmitWith(missing + "/a.jsonl").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(Reason(status), "FILE_NOT_FOUND");
  EXPECT_EQ(Reason(SubmitWith(Upload("partial", /*complete=*/false) + "/a").status()),
            "FILE_NOT_FOUND");
  const std::string file = Upload("{}\n");
  for (const std::string& form : {file, file + "/", file + "/a/b", file + "/..", file + "x/a",
                                  std::string("files/abc/a.jsonl")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SubmitWith(form).status())) << form;
  }
  // Not for folders, nor under the path of the store.
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_model()->set_path(file + "/model");
  EXPECT_EQ(Fields(jobs_->Submit(request, "unix:").status()),
            std::vector<std::string>{"model.path"});
  const std::string path =
      UploadLocation(files_->dir(), {.sha256_hex = file.substr(6), .file_name = "a.jsonl"});
  EXPECT_EQ(Reason(SubmitWith(path).status()), "PATH_NOT_ALLOWED");
  // All violations at once.
  request.mutable_config()->mutable_data()->set_validation(missing + "/a.jsonl");
  EXPECT_EQ(Fields(jobs_->Submit(request, "unix:").status()),
            (std::vector<std::string>{"model.path", "data.validation"}));
}

TEST_F(FilesTest, KeepsAFileThatAnUnfinishedJobNames) {
  const std::string file = Upload("{}\n");
  const auto response = SubmitWith(file + "/a.jsonl");
  ASSERT_OK(response.status());
  const absl::Status refused = Delete(file).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(Reason(refused), "FILE_IN_USE");
  EXPECT_OK(files_->Find(file.substr(6)).status());
  ASSERT_OK(jobs_->Stop(Stop(response->job().name(), v1::StopRequest::DISCARD), "unix:").status());
  EXPECT_OK(Delete(file).status());
  EXPECT_FALSE(files_->Find(file.substr(6)).ok());
}

TEST_F(FilesTest, DeletesOnceForARequestId) {
  const std::string file = Upload("{}\n");
  const auto deleted = Delete(file, "r");
  ASSERT_OK(deleted.status());
  EXPECT_EQ(deleted->name(), file);
  EXPECT_EQ(deleted->size_bytes(), 3);
  EXPECT_EQ(Delete(file, "r")->SerializeAsString(), deleted->SerializeAsString());
  EXPECT_EQ(Reason(Delete(file).status()), "FILE_NOT_FOUND");
  // The repeated call does not remove a file that came later.
  Upload("{}\n");
  ASSERT_OK(Delete(file, "r").status());
  EXPECT_OK(files_->Find(file.substr(6)).status());
  for (const char* name : {"", "files/", "files/abc", "jobs/a"})
    EXPECT_EQ(Reason(Delete(name).status()), "INVALID_NAME") << name;
}

TEST_F(FilesTest, ListsNewestFirstInPages) {
  std::vector<std::string> names;
  for (const char* bytes : {"a", "b", "c"}) names.insert(names.begin(), Upload(bytes));
  names.insert(names.begin(), Upload("partial", /*complete=*/false));
  v1::ListFilesRequest request;
  request.set_page_size(3);
  const auto page = ListFiles(*store_, *files_, request);
  ASSERT_OK(page.status());
  EXPECT_EQ(page->total_bytes(), 10);
  ASSERT_EQ(page->files_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(page->files(i).name(), names[static_cast<size_t>(i)]);
  request.set_page_token(page->next_page_token());
  const auto rest = ListFiles(*store_, *files_, request);
  ASSERT_OK(rest.status());
  ASSERT_EQ(rest->files_size(), 1);
  EXPECT_EQ(rest->files(0).name(), names[3]);
  EXPECT_EQ(rest->next_page_token(), "");
  request.clear_page_token();
  request.set_owner("other");
  EXPECT_EQ(ListFiles(*store_, *files_, request)->files_size(), 0);
  request.set_page_size(1'001);
  EXPECT_TRUE(absl::IsInvalidArgument(ListFiles(*store_, *files_, request).status()));
}

}  // namespace
}  // namespace trainerd::server
