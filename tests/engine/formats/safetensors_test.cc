// SPDX-License-Identifier: Apache-2.0
// Round trips and invalid files. Every message names the file and, if there is one, the tensor.
#include "engine/formats/safetensors.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

#include "proto/base/hash.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

std::string FileBytes(const std::string& header, const std::string& data) {
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i)
    length[static_cast<size_t>(i)] = static_cast<char>((header.size() >> (8 * i)) & 0xff);
  return length + header + data;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class SafetensorsTest : public ::testing::Test {
 protected:
  std::string Path() const { return dir_ / "x.safetensors"; }
  void ExpectDamaged(const std::string& bytes, std::initializer_list<const char*> parts) {
    dir_.Write("x.safetensors", bytes);
    const auto file = SafetensorsFile::Open(Path());
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << file.status();
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(Path()));
    for (const char* part : parts)
      EXPECT_THAT(std::string(file.status().message()), HasSubstr(part));
  }
  TempDir dir_;
};

TEST_F(SafetensorsTest, ReadsWhatWasWritten) {
  auto writer = SafetensorsWriter::Create(Path(),
                                          {{"a", StoredDtype::kFloat32, {2, 3}},
                                           {"empty", StoredDtype::kFloat32, {0, 5}},
                                           {"b", StoredDtype::kBFloat16, {3}}},
                                          {{"step", "7"}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::string b = "abcdef";
  ASSERT_TRUE((*writer)->Append(a.data(), 10).ok());  // pieces need not match the tensors
  ASSERT_TRUE((*writer)->Append(reinterpret_cast<const char*>(a.data()) + 10, 14).ok());
  ASSERT_TRUE((*writer)->Append(b.data(), b.size()).ok());
  const auto result = (*writer)->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string bytes = ReadAll(Path());
  EXPECT_EQ(result->size_bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(result->xxh3, Xxh3(bytes));

  const auto file = SafetensorsFile::Open(Path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().size(), 3u);
  EXPECT_EQ((*file)->metadata().at("format"), "pt");
  EXPECT_EQ((*file)->metadata().at("step"), "7");
  const TensorInfo* info = (*file)->Find("a");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(info->offset % 64, 0);
  EXPECT_EQ(std::memcmp((*file)->Bytes(*info).data(), a.data(), 24), 0);
  EXPECT_EQ(*(*file)->Bytes("b"), b);
  (*file)->Release(*info);
  EXPECT_EQ(std::memcmp((*file)->Bytes(*info).data(), a.data(), 24), 0);
  EXPECT_THAT(std::string((*file)->Bytes("c").status().message()), HasSubstr("\"c\""));
}

TEST_F(SafetensorsTest, RejectsDamagedFiles) {
  const std::string data(16, 'x');
  ExpectDamaged("", {"0 bytes"});
  ExpectDamaged("1234567", {"7 bytes"});
  ExpectDamaged(FileBytes("{}", "").substr(0, 9), {"give a header of 2 bytes"});
  ExpectDamaged(std::string(8, '\xff') + "{}", {"give a header"});
  ExpectDamaged(FileBytes("not json", ""), {"not a JSON object"});
  ExpectDamaged(FileBytes("[]", ""), {"not a JSON object"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[4]}})", data), {"\"w\"", "data_offsets"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F7","shape":[4],"data_offsets":[0,16]}})", data),
                {"\"w\"", "F7"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", data),
                {"\"w\"", "not a count"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[2.5],"data_offsets":[0,16]}})", data),
                {"\"w\"", "not a count"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}})", data),
                {"\"w\"", "holds 16 bytes", "F32 [5] needs 20"});
  ExpectDamaged(
      FileBytes(R"({"w":{"dtype":"F32","shape":[281474976710656,281474976710656,281474976710656],)"
                R"("data_offsets":[0,16]}})",
                data),
      {"\"w\"", "too large"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})", data),
                {"\"w\"", "not a range"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}})", data),
                {"\"w\"", "ends at byte 32 of 16", "truncated"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("v":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                          data),
                {"\"v\"", "overlap"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", data),
                {"\"w\"", "hole"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", data),
                {"8 bytes follow"});
  ExpectDamaged(FileBytes(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
                          R"("w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
                          data),
                {"\"w\"", "twice"});
  ExpectDamaged(FileBytes(R"({"__metadata__":3})", ""), {"__metadata__"});
}

TEST_F(SafetensorsTest, DetectsEveryTruncation) {
  const std::string whole =
      FileBytes(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", std::string(16, 'x'));
  for (size_t size = 0; size < whole.size(); ++size) {
    dir_.Write("x.safetensors", whole.substr(0, size));
    EXPECT_FALSE(SafetensorsFile::Open(Path()).ok()) << size;
  }
}

TEST_F(SafetensorsTest, ReportsMissingFileAndExistingTarget) {
  EXPECT_EQ(SafetensorsFile::Open(Path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(dir_.path()).status().code(), absl::StatusCode::kInvalidArgument);
  dir_.Write("x.safetensors", "x");
  EXPECT_EQ(SafetensorsWriter::Create(Path(), {}).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(SafetensorsTest, WriteErrorNamesFileAndBytes) {
  auto writer = SafetensorsWriter::Create(Path(), {{"w", StoredDtype::kFloat32, {1 << 20}}});
  ASSERT_TRUE(writer.ok());
  const std::vector<char> data(4 << 20);
  rlimit old_limit{};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const rlimit limit{1 << 20, old_limit.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const absl::Status status = (*writer)->Append(data.data(), data.size());
  setrlimit(RLIMIT_FSIZE, &old_limit);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("bytes written"));
}

}  // namespace
}  // namespace trainerd::engine
