// SPDX-License-Identifier: Apache-2.0
// A daemon in the test's own process with one checkpoint and a store of uploads, and connections
// that break on purpose.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/base/crc32c.h"
#include "proto/base/hash.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/client/fake_daemon.h"
#include "trainerd/v1/file.grpc.pb.h"

namespace trainerd::client {

struct FakeTransfers {
  std::mutex mutex;
  // Of the checkpoint: name → bytes.
  std::map<std::string, std::string> files;
  size_t chunk_bytes = 1000;
  // Chunks until a stream breaks; -1 = it does not break.
  int break_after = -1;
  // So many chunks get a wrong checksum.
  int damage = 0;
  std::vector<v1::DownloadCheckpointRequest> downloads;
  // If not OK, the answer of each download.
  grpc::Status refusal;

  // Uploads by hexadecimal SHA-256, incomplete ones too.
  std::map<std::string, std::string> uploads;
  // Data messages until an upload breaks; -1 = it does not break.
  int break_upload_after = -1;
  int64_t upload_bytes = 0;
};

class FakeDownloads final : public v1::Checkpoints::Service {
 public:
  explicit FakeDownloads(FakeTransfers* state) : state_(state) {}
  grpc::Status DownloadCheckpoint(grpc::ServerContext*,
                                  const v1::DownloadCheckpointRequest* request,
                                  grpc::ServerWriter<v1::FileChunk>* writer) override {
    const std::lock_guard lock(state_->mutex);
    state_->downloads.push_back(*request);
    if (!state_->refusal.ok()) return state_->refusal;
    const std::string name = request->file().empty() ? kManifestName : request->file();
    const auto found = state_->files.find(name);
    if (found == state_->files.end())
      return Refuse(grpc::NOT_FOUND, "no file " + name, "FILE_NOT_FOUND");
    const std::string& bytes = found->second;
    auto at = static_cast<size_t>(request->offset());
    int sent = 0;
    do {
      if (sent++ == state_->break_after) return {grpc::UNAVAILABLE, "Socket closed"};
      v1::FileChunk chunk;
      chunk.set_offset(static_cast<int64_t>(at));
      chunk.set_data(bytes.substr(at, state_->chunk_bytes));
      chunk.set_crc32c(Crc32c(chunk.data()) ^ (state_->damage-- > 0 ? 1U : 0U));
      chunk.set_file_bytes(static_cast<int64_t>(bytes.size()));
      at += chunk.data().size();
      if (!writer->Write(chunk)) return grpc::Status::CANCELLED;
    } while (at < bytes.size());
    return grpc::Status::OK;
  }

 private:
  FakeTransfers* const state_;
};

class FakeFiles final : public v1::Files::Service {
 public:
  explicit FakeFiles(FakeTransfers* state) : state_(state) {}
  grpc::Status UploadFile(grpc::ServerContext*, grpc::ServerReader<v1::UploadFileRequest>* reader,
                          v1::File* file) override {
    v1::UploadFileRequest message;
    if (!reader->Read(&message)) return Refuse(grpc::INVALID_ARGUMENT, "no message", "");
    const std::string sha256 = ToHex(message.sha256());
    const int64_t size = message.size_bytes();
    file->set_name("files/" + sha256);
    file->set_size_bytes(size);
    file->set_display_name(message.display_name());
    int sent = 0;
    do {
      const std::lock_guard lock(state_->mutex);
      std::string& bytes = state_->uploads[sha256];
      if (!message.data().empty()) {
        if (sent++ == state_->break_upload_after) return {grpc::UNAVAILABLE, "Socket closed"};
        if (message.offset() != static_cast<int64_t>(bytes.size()))
          return Refuse(grpc::FAILED_PRECONDITION, "wrong offset", "UPLOAD_OFFSET");
        EXPECT_EQ(Crc32c(message.data()), message.crc32c());
        bytes += message.data();
        state_->upload_bytes += static_cast<int64_t>(message.data().size());
      }
      file->set_received_bytes(static_cast<int64_t>(bytes.size()));
      if (file->received_bytes() == size && ToHex(Sha256(bytes)) != sha256) {
        state_->uploads.erase(sha256);
        return Refuse(grpc::INVALID_ARGUMENT, "another hash", "HASH_MISMATCH");
      }
      if (file->received_bytes() == size) return grpc::Status::OK;
    } while (reader->Read(&message));
    return grpc::Status::OK;
  }
  grpc::Status ListFiles(grpc::ServerContext*, const v1::ListFilesRequest*,
                         v1::ListFilesResponse* response) override {
    const std::lock_guard lock(state_->mutex);
    for (const auto& [sha256, bytes] : state_->uploads) {
      v1::File& file = *response->add_files();
      file.set_name("files/" + sha256);
      file.set_display_name("a.jsonl");
      file.set_size_bytes(static_cast<int64_t>(bytes.size()));
      file.set_received_bytes(file.size_bytes());
      response->set_total_bytes(response->total_bytes() + file.size_bytes());
    }
    return grpc::Status::OK;
  }
  grpc::Status DeleteFile(grpc::ServerContext*, const v1::DeleteFileRequest* request,
                          v1::File* file) override {
    const std::lock_guard lock(state_->mutex);
    if (state_->uploads.erase(request->name().substr(6)) == 0)
      return Refuse(grpc::NOT_FOUND, "no such file", "FILE_NOT_FOUND");
    file->set_name(request->name());
    return grpc::Status::OK;
  }

 private:
  FakeTransfers* const state_;
};

// The daemon's socket is in `folder_`, which is also the working directory of trainctl.
class TransferTest : public ::testing::Test {
 protected:
  TransferTest() : trainer_(&store_), admin_(&store_), downloads_(&state_), files_(&state_) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(SocketOf(folder_.path()), grpc::InsecureServerCredentials());
    for (grpc::Service* service :
         std::initializer_list<grpc::Service*>{&trainer_, &admin_, &downloads_, &files_})
      builder.RegisterService(service);
    server_ = builder.BuildAndStart();
  }
  ~TransferTest() override { server_->Shutdown(std::chrono::system_clock::now()); }

  Address address() const {
    Address address;
    address.display = "test";
    address.socket_path = folder_ / "trainerd.sock";
    return address;
  }
  // Bytes that do not repeat.
  static std::string Bytes(size_t size, int seed = 1) {
    std::string bytes;
    for (size_t i = 0; i < size; ++i)
      bytes.push_back(static_cast<char>((i * 2654435761U + static_cast<size_t>(seed)) >> 13));
    return bytes;
  }
  // The checkpoint with these files, and its manifest.
  void MakeCheckpoint(const std::map<std::string, std::string>& files) {
    Manifest manifest{.job = "jobs/4f0123456789", .attempt = 1, .step = 5, .kind = "checkpoint"};
    manifest.create_time = "2026-11-24T07:00:00Z";
    for (const auto& [name, bytes] : files)
      manifest.files[name] = {static_cast<int64_t>(bytes.size()), ToHex(Xxh3(bytes))};
    state_.files = files;
    state_.files[kManifestName] = ManifestToJson(manifest);
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  static std::string ReadText(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  // The bytes of each file below a folder.
  static std::map<std::string, std::string> FilesOf(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file())
        files[std::filesystem::relative(entry.path(), folder).string()] = ReadText(entry.path());
    }
    return files;
  }

  TempDir folder_;
  FakeStore store_;
  FakeTransfers state_;
  FakeTrainer trainer_;
  FakeAdmin admin_;
  FakeDownloads downloads_;
  FakeFiles files_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace trainerd::client
