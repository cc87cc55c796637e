// SPDX-License-Identifier: Apache-2.0
// The store of uploads: what is kept, refused, removed, and what a crash leaves.
#include "server/files/file_store.h"

#include <atomic>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "proto/base/crc32c.h"
#include "proto/base/hash.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

absl::Status AnyOwner(const std::string&, const std::string&) { return absl::OkStatus(); }

class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() { Open(); }
  void Open(int64_t max_bytes = 10'000'000) {
    files_.reset();
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    files_ = std::make_unique<FileStore>(
        FileStore::Options{.dir = dir_ / "files",
                           .max_bytes = max_bytes,
                           .free_bytes = [this](const std::string&) { return free_bytes_; }},
        *store_);
    ASSERT_OK(files_->Recover());
  }
  static v1::UploadFileRequest First(const std::string& bytes) {
    v1::UploadFileRequest first;
    first.set_sha256(Sha256(bytes));
    first.set_size_bytes(static_cast<int64_t>(bytes.size()));
    first.set_display_name("a.jsonl");
    return first;
  }
  static v1::UploadFileRequest Piece(const std::string& bytes, size_t from, size_t to) {
    v1::UploadFileRequest message;
    message.set_offset(static_cast<int64_t>(from));
    message.set_data(bytes.substr(from, to - from));
    message.set_crc32c(Crc32c(message.data()));
    return message;
  }
  // Sends the bytes from `from` to `to`.
  absl::Status Send(const std::string& bytes, size_t from, size_t to) {
    const absl::Status begun = files_->Begin(First(bytes), "unix:", AnyOwner).status();
    if (!begun.ok()) return begun;
    return files_->Append(ToHex(Sha256(bytes)), Piece(bytes, from, to));
  }
  absl::StatusOr<v1::File> Upload(const std::string& bytes) {
    const absl::Status sent = bytes.empty()
                                  ? files_->Begin(First(bytes), "unix:", AnyOwner).status()
                                  : Send(bytes, 0, bytes.size());
    if (!sent.ok()) return sent;
    return files_->Finish(ToHex(Sha256(bytes)), nullptr);
  }
  static google::rpc::ErrorInfo Info(const absl::Status& status) {
    google::rpc::ErrorInfo info;
    const auto payload = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo");
    if (payload.has_value()) info.ParseFromString(std::string(*payload));
    return info;
  }
  static std::string Reason(const absl::Status& status) { return Info(status).reason(); }
  std::string ReadLinked(const std::string& bytes, const std::string& name) {
    const UploadPath upload{.sha256_hex = ToHex(Sha256(bytes)), .file_name = name};
    EXPECT_OK(files_->Link(upload));
    std::ifstream file(UploadLocation(files_->dir(), upload), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  int64_t AuditRows() {
    return *store_->Read([](Connection& db) -> absl::StatusOr<int64_t> {
      Query query(db, "SELECT count(*) FROM audit WHERE method = 'Files.UploadFile'");
      query.Step();
      return query.Int(0);
    });
  }

  TempDir dir_;
  FakeClock clock_;
  int64_t free_bytes_ = int64_t{1} << 40;
  std::unique_ptr<Store> store_;
  std::unique_ptr<FileStore> files_;
};

TEST_F(FileStoreTest, KeepsAFileUnderTheNamesOfItsJobs) {
  const std::string bytes = "one\ntwo\n";
  const auto file = Upload(bytes);
  ASSERT_OK(file.status());
  EXPECT_EQ(file->name(), "files/" + ToHex(Sha256(bytes)));
  EXPECT_EQ(file->display_name(), "a.jsonl");
  EXPECT_EQ(file->size_bytes(), 8);
  EXPECT_EQ(file->received_bytes(), 8);
  EXPECT_EQ(file->owner(), DaemonUser());
  EXPECT_TRUE(file->has_create_time());
  EXPECT_FALSE(file->has_last_use_time());
  EXPECT_EQ(ReadLinked(bytes, "a.jsonl"), bytes);
  EXPECT_EQ(ReadLinked(bytes, "data"), bytes);
  EXPECT_EQ(ReadLinked(bytes, "ü b.jinja"), bytes);
  EXPECT_EQ(ReadLinked(bytes, "a.jsonl"), bytes) << "the name exists already";
  EXPECT_OK(Upload("").status());
  EXPECT_EQ(ReadLinked("", "e"), "");
  EXPECT_EQ(AuditRows(), 2);
  // The same file again changes nothing.
  EXPECT_OK(files_->Begin(First(bytes), "unix:", AnyOwner).status());
  EXPECT_EQ(AuditRows(), 2);
}

TEST_F(FileStoreTest, ContinuesWhereItEndedAlsoAfterARestart) {
  const std::string bytes(2'500'000, 'x');
  ASSERT_OK(Send(bytes, 0, 1'000'000));
  Open();
  EXPECT_EQ(files_->Begin(First(bytes), "unix:", AnyOwner)->received_bytes(), 1'000'000);
  ASSERT_OK(Send(bytes, 1'000'000, 2'000'000));
  const absl::Status gap = Send(bytes, 2'000'001, 2'500'000);
  EXPECT_EQ(Reason(gap), "UPLOAD_OFFSET");
  EXPECT_EQ(Info(gap).metadata().at("received_bytes"), "2000000");
  EXPECT_EQ(Reason(Send(bytes, 0, 10)), "UPLOAD_OFFSET") << "before the end";
  ASSERT_OK(Send(bytes, 2'000'000, 2'500'000));
  Open();
  // Every byte is there, and only the check of the hash is missing.
  EXPECT_EQ(files_->Begin(First(bytes), "unix:", AnyOwner)->received_bytes(), 2'500'000);
  EXPECT_FALSE(files_->Link({.sha256_hex = ToHex(Sha256(bytes)), .file_name = "a"}).ok());
  ASSERT_OK(files_->Finish(ToHex(Sha256(bytes)), nullptr).status());
  EXPECT_EQ(ReadLinked(bytes, "a"), bytes);
  EXPECT_EQ(Reason(Send(bytes, 0, 10)), "UPLOAD_OFFSET") << "it is complete";
}

TEST_F(FileStoreTest, RefusesWhatIsNoChunkOfTheFile) {
  const std::string bytes = "0123456789";
  ASSERT_OK(Send(bytes, 0, 4));
  const std::string name = ToHex(Sha256(bytes));
  v1::UploadFileRequest message = Piece(bytes, 4, 8);
  message.set_crc32c(message.crc32c() + 1);
  EXPECT_TRUE(absl::IsInvalidArgument(files_->Append(name, message)));
  message = Piece(bytes + "more", 4, 14);
  EXPECT_TRUE(absl::IsInvalidArgument(files_->Append(name, message))) << "beyond the end";
  const std::string large(kMaxUploadChunkBytes + 1, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(Send(large, 0, large.size())));
  EXPECT_EQ(files_->Begin(First(bytes), "unix:", AnyOwner)->received_bytes(), 4)
      << "the rest is kept";
}

TEST_F(FileStoreTest, RefusesNonsenseInTheFirstMessage) {
  const auto refused = [&](const std::function<void(v1::UploadFileRequest*)>& change) {
    v1::UploadFileRequest first = First("0123456789");
    change(&first);
    return absl::IsInvalidArgument(files_->Begin(first, "unix:", AnyOwner).status());
  };
  EXPECT_TRUE(refused([](auto* f) { f->set_sha256("short"); }));
  EXPECT_TRUE(refused([](auto* f) { f->clear_sha256(); }));
  EXPECT_TRUE(refused([](auto* f) { f->set_size_bytes(-1); }));
  EXPECT_TRUE(refused([](auto* f) { f->set_display_name("a\nb"); }));
  EXPECT_TRUE(refused([](auto* f) { f->set_display_name(std::string(2'000, 'a')); }));
  EXPECT_EQ(AuditRows(), 0);
  ASSERT_OK(Upload("0123456789").status());
  EXPECT_TRUE(refused([](auto* f) { f->set_size_bytes(9); })) << "another size";
}

TEST_F(FileStoreTest, RemovesAnUploadWithAnotherHash) {
  v1::UploadFileRequest first = First("0123456789");
  const std::string name = ToHex(first.sha256());
  ASSERT_OK(files_->Begin(first, "unix:", AnyOwner).status());
  ASSERT_OK(files_->Append(name, Piece("9876543210", 0, 10)));
  const absl::Status status = files_->Finish(name, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(Reason(status), "HASH_MISMATCH");
  EXPECT_EQ(Reason(files_->Find(name).status()), "FILE_NOT_FOUND");
  EXPECT_FALSE(std::filesystem::exists(dir_ / ("files/" + name)));
  EXPECT_OK(Upload("0123456789").status());
}

TEST_F(FileStoreTest, CountsIncompleteUploadsWithTheirFullSize) {
  Open(/*max_bytes=*/100);
  const std::string first(60, 'a'), second(41, 'b'), third(40, 'c');
  ASSERT_OK(Send(first, 0, 1));
  EXPECT_EQ(Reason(Send(second, 0, 1)), "UPLOAD_SPACE");
  EXPECT_OK(Upload(third).status());
  // The upload that is there can continue.
  EXPECT_OK(Send(first, 1, 60));
  EXPECT_EQ(Reason(Upload("x").status()), "UPLOAD_SPACE");
  EXPECT_OK(Upload("").status());
}

TEST_F(FileStoreTest, RefusesAFileThatTheDiskCannotHold) {
  free_bytes_ = 9;
  EXPECT_EQ(Reason(Upload("0123456789").status()), "DISK");
  EXPECT_EQ(AuditRows(), 0) << "nothing is stored";
  free_bytes_ = 10;
  ASSERT_OK(Send("0123456789", 0, 5));
  // Only the rest needs space.
  free_bytes_ = 5;
  EXPECT_OK(Send("0123456789", 5, 10));
}

TEST_F(FileStoreTest, RemovesIncompleteUploads24HoursAfterTheirLastBytes) {
  const std::string bytes = "0123456789";
  const std::string name = ToHex(Sha256(bytes));
  ASSERT_OK(Upload("complete").status());
  ASSERT_OK(Send(bytes, 0, 4));
  clock_.Advance(absl::Hours(23));
  ASSERT_OK(files_->NoteWrite(name));
  clock_.Advance(absl::Hours(23));
  ASSERT_OK(files_->Expire());
  EXPECT_OK(files_->Find(name).status());
  clock_.Advance(absl::Hours(2));
  ASSERT_OK(files_->Expire());
  EXPECT_TRUE(absl::IsNotFound(files_->Find(name).status()));
  EXPECT_FALSE(std::filesystem::exists(dir_ / ("files/" + name)));
  EXPECT_EQ(Reason(files_->Append(name, Piece(bytes, 4, 10))), "FILE_NOT_FOUND");
  EXPECT_OK(files_->Find(ToHex(Sha256("complete"))).status());
}

TEST_F(FileStoreTest, CleansUpAfterACrash) {
  ASSERT_OK(Upload("kept").status());
  const std::string kept = ToHex(Sha256("kept"));
  // A folder whose row was deleted, and one whose last transaction was lost.
  const std::string orphan = ToHex(Sha256("orphan"));
  dir_.Write("files/" + orphan + "/data", "orphan");
  const std::string renamed = "0123456789";
  ASSERT_OK(Send(renamed, 0, 10));
  const std::string folder = dir_ / "files/" + ToHex(Sha256(renamed));
  std::filesystem::rename(folder + "/part", folder + "/data");
  Open();
  EXPECT_FALSE(std::filesystem::exists(dir_ / ("files/" + orphan)));
  EXPECT_EQ(ReadLinked("kept", "a"), "kept");
  EXPECT_EQ(ReadLinked(renamed, "a"), renamed);
}

TEST_F(FileStoreTest, CollectsWhatNoJobHasNamedForLong) {
  for (const char* bytes : {"old", "used", "young", "partial"}) {
    if (bytes == std::string("young")) clock_.Advance(absl::Hours(719));
    if (bytes == std::string("partial")) {
      ASSERT_OK(Send(bytes, 0, 1));
    } else {
      ASSERT_OK(Upload(bytes).status());
    }
  }
  AddJob(*store_, "a", dir_ / "run");
  clock_.Advance(absl::Hours(2));
  ASSERT_OK(store_->Change([&](Transaction& t) {
    return StoreFileUse(t.db(), "a", ToHex(Sha256("used")), t.now() - absl::Hours(9'999));
  }));
  const auto reasons = [&](bool dry_run) {
    int recorded = 0;
    const auto files = files_->CollectUnused(dry_run, [&](Transaction&) {
      ++recorded;
      return absl::OkStatus();
    });
    EXPECT_OK(files.status());
    std::map<std::string, std::string> found;
    for (const FileStore::Collected& file : *files) {
      EXPECT_EQ(file.removed, file.reason == "UNUSED");
      found[file.name] = file.reason;
      recorded -= file.removed && !dry_run ? 1 : 0;
    }
    EXPECT_EQ(recorded, 0) << "once for each file that was removed";
    return found;
  };
  const auto name = [](const std::string& bytes) { return "files/" + ToHex(Sha256(bytes)); };
  const std::map<std::string, std::string> expected = {
      {name("old"), "UNUSED"}, {name("used"), "IN_USE"}, {name("young"), "RETENTION"}};
  EXPECT_EQ(reasons(/*dry_run=*/true), expected);
  EXPECT_OK(files_->Find(ToHex(Sha256("old"))).status());
  EXPECT_EQ(reasons(/*dry_run=*/false), expected);
  EXPECT_FALSE(files_->Find(ToHex(Sha256("old"))).ok());
  EXPECT_EQ(reasons(/*dry_run=*/false).size(), 2u);
}

TEST_F(FileStoreTest, OfTwoFirstMessagesAtOnceOneOwnsTheUpload) {
  for (int round = 0; round < 20; ++round) {
    const v1::UploadFileRequest first = First("upload " + std::to_string(round));
    std::atomic<int> admitted{0};
    const auto begin = [&](const std::string& principal) {
      const auto check = [&](const std::string&, const std::string& owner) {
        return owner == principal ? absl::OkStatus() : absl::PermissionDeniedError("NOT_OWNER");
      };
      const absl::Status begun = files_->Begin(first, Caller(principal, "p"), check).status();
      EXPECT_TRUE(begun.ok() || absl::IsPermissionDenied(begun)) << begun;
      if (begun.ok()) ++admitted;
    };
    std::thread other([&] { begin("bob"); });
    begin("alice");
    other.join();
    EXPECT_EQ(admitted, 1);
  }
}

TEST_F(FileStoreTest, EverybodyMayNameACompleteUpload) {
  ASSERT_OK(Upload("0123456789").status());
  const auto nobody = [](const std::string&, const std::string&) {
    return absl::PermissionDeniedError("NOT_OWNER");
  };
  EXPECT_OK(files_->Begin(First("0123456789"), "unix:", nobody).status());
  v1::UploadFileRequest part = First("abcdefghij");
  ASSERT_OK(files_->Begin(part, "unix:", AnyOwner).status());
  EXPECT_TRUE(absl::IsPermissionDenied(files_->Begin(part, "unix:", nobody).status()));
}

}  // namespace
}  // namespace trainerd::server
