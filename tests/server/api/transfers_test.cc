// SPDX-License-Identifier: Apache-2.0
// UploadFile and DownloadCheckpoint through a real daemon and real sockets.
#include "proto/base/crc32c.h"
#include "proto/base/hash.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/api/api_fixture.h"
#include "trainerd/v1/file.grpc.pb.h"

namespace trainerd::server {
namespace {

constexpr char kName[] = "jobs/a/checkpoints/step-1";

class TransfersTest : public ApiTest {
 protected:
  TransfersTest() {
    settings_.set_max_upload_bytes(20'000'000);
    Restart();
  }
  void Restart() {
    server_.reset();
    ASSERT_OK(StartServer("s"));
    if (folder_ < 0) {
      Connect("s");
    } else {
      ConnectTo(socket());
    }
    files_ = v1::Files::NewStub(channel_);
    checkpoints_ = v1::Checkpoints::NewStub(channel_);
  }
  static std::string Bytes(size_t size) {
    std::string bytes;
    for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>((i * 2654435761U) >> 13));
    return bytes;
  }
  static v1::UploadFileRequest First(const std::string& bytes) {
    v1::UploadFileRequest first;
    first.set_sha256(Sha256(bytes));
    first.set_size_bytes(static_cast<int64_t>(bytes.size()));
    first.set_display_name("a.jsonl");
    return first;
  }
  // One call that sends the bytes from `from` to `to`.
  grpc::Status Upload(const std::string& bytes, size_t from, size_t to, v1::File* file) {
    grpc::ClientContext context;
    const auto writer = files_->UploadFile(&context, file);
    v1::UploadFileRequest message = First(bytes);
    bool more = true;
    for (size_t at = from; more && at < to; at += message.data().size()) {
      message.set_offset(static_cast<int64_t>(at));
      message.set_data(bytes.substr(at, std::min<size_t>(1 << 20, to - at)));
      message.set_crc32c(Crc32c(message.data()));
      more = writer->Write(message);
      message.clear_sha256();
    }
    if (from == to) writer->Write(message);
    writer->WritesDone();
    return writer->Finish();
  }
  // A checkpoint with one file. The database is written while the daemon is not there.
  void MakeCheckpoint(const std::string& bytes) {
    ASSERT_TRUE(Submit("a").ok());
    server_.reset();
    Manifest manifest{.job = "jobs/a", .attempt = 1, .step = 1, .kind = "checkpoint"};
    manifest.create_time = "2026-11-24T07:00:00Z";
    manifest.files["model"] = {static_cast<int64_t>(bytes.size()), ToHex(Xxh3(bytes))};
    dir_.Write("step-1/MANIFEST.json", ManifestToJson(manifest));
    dir_.Write("step-1/model", bytes);
    auto store = Store::Open({.path = dir_ / "s/trainerd.db"});
    ASSERT_OK(store.status());
    ASSERT_OK((*store)->Change([&](Transaction& t) {
      v1::Checkpoint checkpoint;
      checkpoint.set_name(kName);
      checkpoint.set_job("jobs/a");
      checkpoint.set_step(1);
      checkpoint.set_verified(true);
      checkpoint.set_path(dir_ / "step-1");
      return StoreCheckpoint(t.db(), checkpoint);
    }));
    store->reset();
    Restart();
  }
  static v1::DownloadCheckpointRequest Model(int64_t offset = 0) {
    v1::DownloadCheckpointRequest request;
    request.set_name(kName);
    request.set_file("model");
    request.set_offset(offset);
    return request;
  }
  grpc::Status Download(const v1::DownloadCheckpointRequest& request, std::string* bytes) {
    grpc::ClientContext context;
    const auto reader = checkpoints_->DownloadCheckpoint(&context, request);
    v1::FileChunk chunk;
    while (reader->Read(&chunk)) {
      EXPECT_EQ(chunk.offset(), request.offset() + static_cast<int64_t>(bytes->size()));
      EXPECT_EQ(chunk.crc32c(), Crc32c(chunk.data()));
      EXPECT_LE(chunk.data().size(), size_t{1} << 20);
      *bytes += chunk.data();
    }
    return reader->Finish();
  }

  std::unique_ptr<v1::Files::Stub> files_;
  std::unique_ptr<v1::Checkpoints::Stub> checkpoints_;
};

TEST_F(TransfersTest, UploadsInSeveralCalls) {
  const std::string bytes = Bytes(5'000'000);
  v1::File file;
  ASSERT_TRUE(Upload(bytes, 0, 2'000'000, &file).ok());
  EXPECT_EQ(file.received_bytes(), 2'000'000);
  Restart();
  // Only a question.
  file.Clear();
  ASSERT_TRUE(Upload(bytes, 0, 0, &file).ok());
  EXPECT_EQ(file.received_bytes(), 2'000'000);
  const grpc::Status gap = Upload(bytes, 3'000'000, 5'000'000, &file);
  EXPECT_EQ(gap.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(gap).reason(), "UPLOAD_OFFSET");
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(gap).metadata().at("received_bytes"), "2000000");
  ASSERT_TRUE(Upload(bytes, 2'000'000, 5'000'000, &file).ok());
  EXPECT_EQ(file.received_bytes(), 5'000'000);
  EXPECT_EQ(file.name(), "files/" + ToHex(Sha256(bytes)));
  // A complete file is returned at once, also to a client that would send it.
  ASSERT_TRUE(Upload(bytes, 0, 0, &file).ok());
  EXPECT_EQ(file.received_bytes(), 5'000'000);
}

TEST_F(TransfersTest, KeepsTheBytesBeforeADamagedOne) {
  const std::string bytes = Bytes(2'000'000);
  grpc::ClientContext context;
  v1::File file;
  const auto writer = files_->UploadFile(&context, &file);
  v1::UploadFileRequest message = First(bytes);
  message.set_data(bytes.substr(0, 1'000'000));
  message.set_crc32c(Crc32c(message.data()));
  ASSERT_TRUE(writer->Write(message));
  v1::UploadFileRequest damaged;
  damaged.set_offset(1'000'000);
  damaged.set_data(bytes.substr(1'000'000));
  damaged.set_crc32c(7);
  writer->Write(damaged);
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  ASSERT_TRUE(Upload(bytes, 1'000'000, 2'000'000, &file).ok());
  EXPECT_EQ(file.received_bytes(), 2'000'000);
}

TEST_F(TransfersTest, RefusesAnUploadBeyondTheQuota) {
  const std::string bytes = Bytes(10);
  v1::UploadFileRequest first = First(bytes);
  first.set_size_bytes(20'000'001);
  grpc::ClientContext context;
  v1::File file;
  const auto writer = files_->UploadFile(&context, &file);
  writer->Write(first);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "UPLOAD_SPACE");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(status).has_retry_delay());
}

TEST_F(TransfersTest, RefusesACallWithoutAMessage) {
  grpc::ClientContext context;
  v1::File file;
  const auto writer = files_->UploadFile(&context, &file);
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(TransfersTest, ContinuesAnUploadWhoseClientWasCancelled) {
  const std::string bytes = Bytes(3'000'000);
  {
    grpc::ClientContext context;
    v1::File file;
    const auto writer = files_->UploadFile(&context, &file);
    v1::UploadFileRequest message = First(bytes);
    message.set_data(bytes.substr(0, 1'000'000));
    message.set_crc32c(Crc32c(message.data()));
    ASSERT_TRUE(writer->Write(message));
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  v1::File file;
  grpc::Status status;
  // The daemon may take the message after the next call has asked what it has: UPLOAD_OFFSET.
  do {
    ASSERT_TRUE(Upload(bytes, 0, 0, &file).ok());
    const auto received = static_cast<size_t>(file.received_bytes());
    EXPECT_TRUE(received == 0 || received == 1'000'000) << received;
    status = Upload(bytes, received, bytes.size(), &file);
  } while (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(file.received_bytes(), 3'000'000);
}

TEST_F(TransfersTest, DownloadsFromAnyOffset) {
  const std::string bytes = Bytes(3'500'000);
  MakeCheckpoint(bytes);
  for (const int64_t offset : {0, 1, 1 << 20, 3'499'999, 3'500'000}) {
    std::string received;
    ASSERT_TRUE(Download(Model(offset), &received).ok());
    EXPECT_EQ(received, bytes.substr(static_cast<size_t>(offset))) << offset;
  }
  std::string ignored;
  EXPECT_EQ(Download(Model(3'500'001), &ignored).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  v1::DownloadCheckpointRequest other = Model();
  other.set_file("../trainerd.db");
  const grpc::Status status = Download(other, &ignored);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "FILE_NOT_FOUND");
}

TEST_F(TransfersTest, ServesOthersWhileAReaderDoesNotRead) {
  MakeCheckpoint(Bytes(8'000'000));
  // More readers than threads; none reads.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::FileChunk>>> readers;
  for (int i = 0; i < 12; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(checkpoints_->DownloadCheckpoint(contexts.back().get(), Model()));
  }
  std::string received;
  ASSERT_TRUE(Download(Model(), &received).ok());
  EXPECT_EQ(received.size(), 8'000'000u);
  v1::File file;
  EXPECT_TRUE(Upload(Bytes(2'000'000), 0, 2'000'000, &file).ok());
  for (const auto& context : contexts) context->TryCancel();
  for (const auto& reader : readers)
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(TransfersTest, CountsTransfersAsStreams) {
  settings_.set_max_watchers(1);
  MakeCheckpoint(Bytes(30'000'000));
  grpc::ClientContext context;
  const auto reader = checkpoints_->DownloadCheckpoint(&context, Model());
  v1::FileChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  std::string ignored;
  const grpc::Status refused = Download(Model(), &ignored);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(refused).reason(), "WATCHERS");
  v1::File file;
  EXPECT_EQ(Upload("x", 0, 1, &file).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  context.TryCancel();
  reader->Finish();
  // The place is free again.
  grpc::Status status = refused;
  for (int i = 0; i < 500 && !status.ok(); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
    status = Upload("x", 0, 1, &file);
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace trainerd::server
