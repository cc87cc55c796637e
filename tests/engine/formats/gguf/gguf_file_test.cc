// SPDX-License-Identifier: Apache-2.0
// A file that PyPI gguf wrote (tests/golden/formats), files of GgufWriter, and damaged files. Every
// message names the file and, if there is one, the tensor or key.
#include "engine/formats/gguf/gguf_file.h"

#include <gmock/gmock.h>

#include <cstring>

#include "engine/formats/gguf/gguf_writer.h"
#include "tests/engine/formats/gguf/gguf_golden.h"
#include "tests/temp_dir.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}
std::string Raw(std::string_view text) { return Raw(uint64_t{text.size()}) + std::string(text); }

// A tensor's entry of the header.
std::string Entry(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                  uint64_t offset) {
  std::string entry = Raw(name) + Raw(static_cast<uint32_t>(dimensions.size()));
  for (const uint64_t dimension : dimensions) entry += Raw(dimension);
  return entry + Raw(type) + Raw(offset);
}

std::string Key(std::string_view key, uint32_t type, const std::string& value) {
  return Raw(key) + Raw(type) + value;
}

struct Parts {
  uint32_t version = 3;
  std::vector<std::string> tensors = {};
  std::vector<std::string> metadata = {};
  size_t data_bytes = 64;
};

std::string FileOf(const Parts& parts) {
  std::string bytes = "GGUF" + Raw(parts.version) + Raw(uint64_t{parts.tensors.size()}) +
                      Raw(uint64_t{parts.metadata.size()});
  for (const std::string& entry : parts.metadata) bytes += entry;
  for (const std::string& entry : parts.tensors) bytes += entry;
  bytes.resize((bytes.size() + 31) / 32 * 32 + parts.data_bytes);
  return bytes;
}

class GgufFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& bytes) {
    return GgufFile::Open(dir_.Write("x.gguf", bytes));
  }
  void ExpectError(const std::string& bytes, absl::StatusCode code,
                   std::initializer_list<const char*> parts) {
    const auto file = Open(bytes);
    ASSERT_FALSE(file.ok()) << *parts.begin();
    const std::string message(file.status().message());
    EXPECT_EQ(file.status().code(), code) << message;
    EXPECT_THAT(message, HasSubstr(dir_ / "x.gguf"));
    for (const char* part : parts) EXPECT_THAT(message, HasSubstr(part));
  }
  void ExpectDamaged(const Parts& parts, std::initializer_list<const char*> texts) {
    ExpectError(FileOf(parts), absl::StatusCode::kDataLoss, texts);
  }
  TempDir dir_;
};

TEST_F(GgufFileTest, ReadsTheMetadataOfTheReference) {
  const auto file = Open(FromHex(GgufGolden()["file"]["bytes"]));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(*metadata.Text("general.architecture"), "llama");
  EXPECT_EQ(*metadata.Count("n.u8"), 200);
  EXPECT_EQ(std::get<int64_t>(metadata.values().at("n.i8")), -100);
  EXPECT_EQ(*metadata.Count("n.u16"), 60000);
  EXPECT_EQ(std::get<int64_t>(metadata.values().at("n.i16")), -30000);
  EXPECT_EQ(*metadata.Count("n.u32"), 4000000000);
  EXPECT_EQ(std::get<int64_t>(metadata.values().at("n.i32")), -2000000000);
  EXPECT_EQ(*metadata.Count("n.u64"), int64_t{1} << 40);
  EXPECT_EQ(std::get<int64_t>(metadata.values().at("n.i64")), -(int64_t{1} << 40));
  EXPECT_EQ(*metadata.Number("n.f32"), 0.5);
  EXPECT_EQ(*metadata.Number("n.f64"), 0.1);
  EXPECT_TRUE(*metadata.Bool("n.bool"));
  EXPECT_EQ(*metadata.Text("n.text"), "grüße");
  EXPECT_THAT(*metadata.Integers("n.ints"), ElementsAre(1, -2, 3));
  EXPECT_THAT(*metadata.Numbers("n.numbers"), ElementsAre(0.5, -0.25));
  EXPECT_THAT(*metadata.Texts("n.texts"), ElementsAre("a", "", "▁b"));
  EXPECT_EQ(std::get<GgufArray>(metadata.values().at("n.bools")).bytes, std::string("\1\0", 2));
}

TEST_F(GgufFileTest, ReadsTheTensorsOfTheReference) {
  const nlohmann::json& golden = GgufGolden()["file"];
  const auto file = Open(FromHex(golden["bytes"]));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), 3U);
  const GgufTensor* a = (*file)->Find("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_THAT(a->shape, ElementsAre(2, 3));
  std::vector<float> values(6);
  Dequantize(a->type, (*file)->Bytes(*a), absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
  const GgufTensor* b = (*file)->Find("b.weight");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, GgufType::kQ8_0);
  EXPECT_THAT(b->shape, ElementsAre(2, 64));
  values.resize(128);
  Dequantize(b->type, (*file)->Bytes(*b), absl::MakeSpan(values));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(values.data()), 512),
            FromHex(golden["b.weight"]));
  EXPECT_EQ((*file)->Find("d.weight"), nullptr);
}

TEST_F(GgufFileTest, ReadsWhatWasWritten) {
  GgufEntries entries;
  entries.AddText("general.architecture", "llama");
  entries.AddUint32("n", 7);
  entries.AddFloat32s("scores", {-1.0F, 2.5F});
  const std::string path = dir_ / "y.gguf";
  auto writer = GgufWriter::Create(
      path, entries,
      {{"a", GgufType::kF32, {3}}, {"b", GgufType::kQ8_0, {2, 32}}, {"c", GgufType::kBF16, {1}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(absl::IsAlreadyExists(GgufWriter::Create(path, entries, {}).status()));
  const std::string a(12, 'a'), b(68, 'b'), c(2, 'c');
  for (const std::string_view bytes :
       {std::string_view(a).substr(0, 5), std::string_view(a).substr(5), std::string_view(b),
        std::string_view(c)})
    ASSERT_TRUE((*writer)->Append(bytes).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Bytes(*(*file)->Find("a")), a);
  EXPECT_EQ((*file)->Bytes(*(*file)->Find("b")), b);
  EXPECT_EQ((*file)->Bytes(*(*file)->Find("c")), c);
  EXPECT_THAT((*file)->Find("b")->shape, ElementsAre(2, 32));
  EXPECT_EQ(*(*file)->metadata().Count("n"), 7);
  EXPECT_THAT(*(*file)->metadata().Numbers("scores"), ElementsAre(-1.0, 2.5));
}

TEST_F(GgufFileTest, RefusesTruncatedFiles) {
  const std::string whole = FromHex(GgufGolden()["file"]["bytes"]);
  // The padding behind the last tensor is not part of it.
  for (size_t size = 1; size + 32 < whole.size(); size += 13) {
    const auto file = Open(whole.substr(0, size));
    ASSERT_FALSE(file.ok()) << size;
    ASSERT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << size << file.status();
  }
}

TEST_F(GgufFileTest, RefusesOtherFiles) {
  const auto data_loss = absl::StatusCode::kDataLoss;
  const absl::Status none = GgufFile::Open(dir_ / "none.gguf").status();
  EXPECT_TRUE(absl::IsNotFound(none)) << none;
  EXPECT_THAT(std::string(none.message()), HasSubstr("none.gguf: no such file; give the path"));
  ExpectError("", data_loss, {"is empty"});
  ExpectError("PK\3\4 something else", data_loss, {"does not begin with \"GGUF\""});
  ExpectError("version https://git-lfs.github.com/spec/v1\n", data_loss, {"Git LFS pointer"});
  ExpectError(FileOf({.version = 1}), absl::StatusCode::kUnimplemented,
              {"GGUF version 1 is not supported; supported are 2 and 3"});
  ExpectError(FileOf({.version = 4}), absl::StatusCode::kUnimplemented, {"GGUF version 4"});
  ExpectError(FileOf({.version = 0x03000000}), absl::StatusCode::kUnimplemented, {"big-endian"});
  EXPECT_TRUE(Open(FileOf({.version = 2})).ok());
}

TEST_F(GgufFileTest, RefusesCountsBeyondTheFile) {
  std::string bytes = FileOf({});
  const uint64_t huge = uint64_t{1} << 60;
  std::memcpy(bytes.data() + 8, &huge, sizeof(huge));
  ExpectError(bytes, absl::StatusCode::kDataLoss, {"1152921504606846976 tensors do not fit"});
  bytes = FileOf({});
  std::memcpy(bytes.data() + 16, &huge, sizeof(huge));
  ExpectError(bytes, absl::StatusCode::kDataLoss, {"metadata entries do not fit"});
  ExpectDamaged({.metadata = {Key("t", 8, Raw(huge))}}, {"metadata key t: the header needs"});
  for (const uint32_t element : {0U, 8U, 9U, 12U}) {
    ExpectDamaged({.metadata = {Key("l", 9, Raw(element) + Raw(huge))}},
                  {"metadata key l: ", "elements do not fit"});
  }
}

TEST_F(GgufFileTest, RefusesInvalidMetadata) {
  ExpectDamaged({.metadata = {Key("a", 13, "xxxx")}}, {"key a: value type 13 does not exist"});
  ExpectDamaged({.metadata = {Key("a", 7, "\1"), Key("a", 7, "\1")}}, {"key a is there twice"});
  ExpectDamaged({.metadata = {Key("", 7, "\1")}}, {"a metadata key has 0 bytes"});
  std::string nested = Raw(uint32_t{0}) + Raw(uint64_t{0});
  for (int i = 0; i < 6; ++i) nested = Raw(uint32_t{9}) + Raw(uint64_t{1}) + nested;
  ExpectDamaged({.metadata = {Key("deep", 9, nested)}}, {"key deep: lists are nested more than 4"});
  for (const uint32_t alignment : {0U, 3U, 1U << 30}) {
    ExpectDamaged({.metadata = {Key("general.alignment", 4, Raw(alignment))}},
                  {"general.alignment is ", "it must be a power of two"});
  }
}

TEST_F(GgufFileTest, ReadsListsWithinLists) {
  const std::string inner =
      Raw(uint32_t{4}) + Raw(uint64_t{2}) + Raw(uint32_t{5}) + Raw(uint32_t{6});
  const auto file = Open(
      FileOf({.metadata = {Key("l", 9, Raw(uint32_t{9}) + Raw(uint64_t{2}) + inner + inner)}}));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& list = std::get<GgufArray>((*file)->metadata().values().at("l"));
  ASSERT_EQ(list.arrays.size(), 2U);
  EXPECT_EQ(list.arrays[1].count, 2);
  EXPECT_EQ(list.arrays[1].bytes, Raw(uint32_t{5}) + Raw(uint32_t{6}));
}

TEST_F(GgufFileTest, RefusesInvalidTensors) {
  ExpectDamaged({.tensors = {Entry("a", {1, 1, 1, 1, 1}, 0, 0)}}, {"\"a\" has 5 dimensions"});
  ExpectDamaged({.tensors = {Entry("a", {4, 0}, 0, 0)}}, {"\"a\" has a dimension of 0"});
  ExpectDamaged({.tensors = {Entry("a", {1U << 31, 1U << 31, 1U << 31}, 0, 0)}},
                {"\"a\" has a dimension of"});
  ExpectDamaged({.tensors = {Entry("a", {31}, 8, 0)}},
                {"\"a\" has rows of 31 elements, but Q8_0 has blocks of 32"});
  ExpectDamaged({.tensors = {Entry("a", {17}, 0, 0)}}, {"\"a\" has 68 bytes from byte 0"});
  ExpectDamaged({.tensors = {Entry("a", {4}, 0, ~uint64_t{0})}}, {"\"a\" has the offset"});
  ExpectDamaged({.tensors = {Entry("a", {4}, 0, uint64_t{1} << 62)}}, {"truncated or damaged"});
  ExpectDamaged({.tensors = {Entry("a", {4}, 0, 4)}}, {"\"a\" begins at byte 4", "multiple of 32"});
  ExpectDamaged({.tensors = {Entry("a", {16}, 0, 0), Entry("b", {4}, 0, 32)}},
                {"\"b\" begins at byte 32 of the data, within the tensor before it"});
  ExpectDamaged({.tensors = {Entry("a", {4}, 0, 0), Entry("a", {4}, 0, 32)}},
                {"\"a\" is there twice"});
  ExpectDamaged({.tensors = {Entry(std::string(2000, 'n'), {4}, 0, 0)}}, {"2000 bytes"});
  ExpectError(FileOf({.tensors = {Entry("a", {256}, 13, 0)}}), absl::StatusCode::kUnimplemented,
              {"\"a\" has Q5_K (type 13), which is not supported; supported are F32, F16"});
  EXPECT_TRUE(Open(FileOf({.tensors = {Entry("b", {4}, 0, 32), Entry("a", {4}, 0, 0)}})).ok());
}

TEST(GgufMetadataTest, NamesTheKeyOfAWrongValue) {
  GgufMetadata metadata;
  ASSERT_TRUE(metadata.Add("a", GgufValue(std::string_view("text"))).ok());
  ASSERT_TRUE(metadata.Add("b", GgufValue(int64_t{-1})).ok());
  EXPECT_THAT(std::string(metadata.Count("a").status().message()),
              HasSubstr("key a is not a count"));
  EXPECT_THAT(std::string(metadata.Count("b").status().message()),
              HasSubstr("key b is not a count"));
  EXPECT_TRUE(absl::IsNotFound(metadata.Text("c").status()));
  EXPECT_THAT(std::string(metadata.Texts("a").status().message()), HasSubstr("a list of texts"));
  EXPECT_EQ(*metadata.OptionalCount("c"), std::nullopt);
  EXPECT_TRUE(*metadata.BoolOr("c", true));
}

}  // namespace
}  // namespace trainerd::engine
