// SPDX-License-Identifier: Apache-2.0
// What is written comes back, and a file that is not as it was written is refused: properties over
// random examples (rapidcheck), and every single byte of a small file.
#include "engine/data/store/token_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>

#include "rapidcheck.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

const std::string kKey(kStoreKeyBytes, 'k');

std::vector<TokenExample> RandomExamples(int32_t largest_id) {
  std::vector<TokenExample> examples(*rc::gen::inRange<size_t>(0, 40));
  for (TokenExample& example : examples) {
    example.index = *rc::gen::arbitrary<uint32_t>();
    example.ids = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, largest_id + 1));
    for (const int32_t id : example.ids) {
      example.labels.push_back(*rc::gen::arbitrary<bool>() ? id : kIgnoreIndex);
    }
    if (*rc::gen::inRange(0, 3) == 0) {
      for (size_t i = 0; i < example.ids.size(); ++i)
        example.weights.push_back(static_cast<float>(*rc::gen::inRange(1, 9000)) / 64.0f);
    }
    example.target_spans = *rc::gen::inRange(0, 9);
    example.span_tokens = *rc::gen::inRange(0, 9);
  }
  return examples;
}

// Writes a file and returns its bytes.
std::string FileOf(const std::vector<TokenExample>& examples, int id_bytes) {
  const TempDir folder;
  const std::string path = folder.path() + "/rows";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  TokenStoreWriter writer(StoreFile::Of(fd, path, {}), {.id_bytes = id_bytes, .key = kKey});
  for (const TokenExample& example : examples) {
    const absl::Status added = writer.Add(example, {.text_hash = 7, .line = 3});
    EXPECT_TRUE(added.ok()) << added;
  }
  internal::TokenSetSummary summary;
  summary.mutable_train()->set_examples(writer.size());
  EXPECT_TRUE(writer.Finish(summary).ok());
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::StatusOr<std::unique_ptr<TokenStore>> OpenBytes(const std::string& bytes,
                                                      const std::string& key = kKey) {
  auto file = StoreFile::Unnamed({.scratch_folder = ""});
  EXPECT_TRUE(file->Append(bytes.data(), bytes.size()).ok() && file->Flush().ok());
  return TokenStore::Open(std::move(file), key);
}

TEST(TokenStoreTest, WhatIsWrittenComesBack) {
  const bool held = rc::check("store round trip", [] {
    const int id_bytes = *rc::gen::inRange(2, 5);
    const std::vector<TokenExample> examples = RandomExamples(id_bytes == 2 ? 65535 : 1 << 24);
    std::vector<TokenExample> fitting;
    for (const TokenExample& example : examples) {
      bool fits = true;
      for (const int32_t id : example.ids) fits &= int64_t{id} < (int64_t{1} << (8 * id_bytes));
      if (fits) fitting.push_back(example);
    }
    const auto store = OpenBytes(FileOf(fitting, id_bytes));
    RC_ASSERT(store.ok());
    RC_ASSERT((*store)->size() == static_cast<int64_t>(fitting.size()));
    for (size_t i = 0; i < fitting.size(); ++i) {
      const auto read = (*store)->Read(static_cast<int64_t>(i));
      RC_ASSERT(read.ok());
      RC_ASSERT(read->ids == fitting[i].ids && read->labels == fitting[i].labels);
      RC_ASSERT(read->weights == fitting[i].weights);
      RC_ASSERT(read->index == fitting[i].index);
      RC_ASSERT(read->target_spans == fitting[i].target_spans);
      RC_ASSERT(read->span_tokens == fitting[i].span_tokens);
      RC_ASSERT((*store)->Record(static_cast<int64_t>(i))->num_targets ==
                fitting[i].CountTargets());
    }
  });
  EXPECT_TRUE(held);
}

TEST(TokenStoreTest, EveryFlippedByteAndEveryTruncationIsFound) {
  const std::vector<TokenExample> examples = {
      {.index = 0, .ids = {1, 70000, 3}, .labels = {kIgnoreIndex, 70000, 3}},
      {.index = 5, .ids = {9}, .labels = {kIgnoreIndex}},
      {.index = 6, .ids = {8, 9}, .labels = {kIgnoreIndex, 9}, .weights = {1, 0.5}}};
  const std::string whole = FileOf(examples, 3);
  ASSERT_TRUE(OpenBytes(whole).ok());
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    EXPECT_EQ(OpenBytes(bytes).status().code(), absl::StatusCode::kDataLoss) << "byte " << i;
    EXPECT_EQ(OpenBytes(whole.substr(0, i)).status().code(), absl::StatusCode::kDataLoss)
        << "cut at " << i;
  }
  EXPECT_FALSE(OpenBytes(whole + "x").ok());
  EXPECT_FALSE(OpenBytes(whole, std::string(kStoreKeyBytes, 'o')).ok()) << "another key";
}

TEST(TokenStoreTest, OnlyWeightedExamplesStoreWeights) {
  const TokenExample plain{.ids = {1, 2, 3}, .labels = {kIgnoreIndex, 2, 3}};
  TokenExample weighted = plain;
  weighted.weights = {1, 0.5, 2};
  const size_t size = FileOf({plain}, 2).size();
  // 3 ids of 2 bytes, 3 bits, a record.
  EXPECT_EQ(FileOf({plain, plain}, 2).size(), size + 3 * 2 + 1 + kRecordBytes);
  EXPECT_EQ(FileOf({plain, weighted}, 2).size(), size + 3 * 2 + 1 + 3 * 4 + kRecordBytes);
}

// A file whose hash is right although it lies about where things are.
TEST(TokenStoreTest, OffsetsAreNotBelieved) {
  const std::string whole =
      FileOf({{.index = 0, .ids = {1, 2, 3}, .labels = {kIgnoreIndex, 2, 3}}}, 4);
  const size_t trailer = whole.size() - kStoreTrailerBytes;
  for (const size_t at : {trailer, trailer + 8, trailer + 16}) {
    for (const uint64_t lie : {uint64_t{1} << 62, uint64_t{0}, uint64_t{1} << 20, ~uint64_t{0}}) {
      std::string bytes = whole;
      bytes.replace(at, 8, reinterpret_cast<const char*>(&lie), 8);
      bytes.replace(bytes.size() - 24, 16, Xxh3(bytes.substr(0, bytes.size() - 24)));
      EXPECT_EQ(OpenBytes(bytes).status().code(), absl::StatusCode::kDataLoss) << at << " " << lie;
    }
  }
  // The record's offset and length: found when the example is read.
  const size_t record = kStoreHeaderBytes + static_cast<size_t>(EncodedBytes(3, 4));
  for (const size_t at : {record, record + 44}) {
    for (const uint32_t lie : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
      std::string bytes = whole;
      bytes.replace(at, 4, reinterpret_cast<const char*>(&lie), 4);
      bytes.replace(bytes.size() - 24, 16, Xxh3(bytes.substr(0, bytes.size() - 24)));
      const auto store = OpenBytes(bytes);
      ASSERT_TRUE(store.ok()) << store.status();
      EXPECT_EQ((*store)->Read(0).status().code(), absl::StatusCode::kDataLoss) << at << " " << lie;
    }
  }
}

TEST(TokenStoreTest, RecordsAreFoundAcrossBlocks) {
  std::vector<TokenExample> examples;
  for (int32_t i = 0; i < kStoreBlockExamples * 2 + 5; ++i) {
    examples.push_back({.index = i, .ids = {i % 1000, 1}, .labels = {kIgnoreIndex, 1}});
  }
  const auto store = OpenBytes(FileOf(examples, 2));
  ASSERT_TRUE(store.ok()) << store.status();
  int64_t next = kStoreBlockExamples - 3;
  ASSERT_TRUE((*store)
                  ->ForEachRecord(next, (*store)->size(),
                                  [&](int64_t example, const ExampleRecord& record) {
                                    EXPECT_EQ(example, next);
                                    EXPECT_EQ(record.index, next);
                                    ++next;
                                    return absl::OkStatus();
                                  })
                  .ok());
  EXPECT_EQ(next, (*store)->size());
  EXPECT_EQ((*store)->Read(kStoreBlockExamples)->ids[0], kStoreBlockExamples % 1000);
  EXPECT_FALSE((*store)->Read((*store)->size()).ok());
}

TEST(TokenStoreTest, KnowsWhatAnUnnamedFileTakes) {
  const TempDir dir;
  for (const bool on_disk : {true, false}) {
    auto file = StoreFile::Unnamed({.scratch_folder = on_disk ? dir.path() : ""});
    ASSERT_TRUE(file->Append("12345", 5).ok());
    ASSERT_TRUE(file->Flush().ok());
    EXPECT_EQ(file->scratch_bytes(), on_disk ? 5 : 0);
  }
  EXPECT_EQ(StoreFile::OfWhole(-1, "a cached file", 5)->scratch_bytes(), 0);
}

TEST(TokenStoreTest, ALabelThatIsNotTheTokenIsRefused) {
  TokenStoreWriter writer(StoreFile::Unnamed({.scratch_folder = ""}), {.id_bytes = 2, .key = kKey});
  EXPECT_FALSE(writer.Add({.ids = {1, 2}, .labels = {1, 3}}, {}).ok());
  EXPECT_FALSE(writer.Add({.ids = {65536}, .labels = {65536}}, {}).ok());
}

}  // namespace
}  // namespace trainerd::engine
