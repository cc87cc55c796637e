// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/token_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/store/token_store_writer.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kHashBlockBytes = 1 << 20;

template <typename Number>
Number Get(const std::string& bytes, size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return number;
}

absl::Status DamagedFile(const StoreFile& file, const std::string& what) {
  return absl::DataLossError(absl::StrCat(file.name(), ": ", what));
}

absl::StatusOr<std::string> ReadPart(const StoreFile& file, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  RETURN_IF_ERROR(file.ReadAt(offset, bytes.data(), bytes.size()));
  return bytes;
}

absl::StatusOr<std::string> HashFile(const StoreFile& file, int64_t size) {
  Xxh3Stream hash;
  std::string block(static_cast<size_t>(std::min(size, kHashBlockBytes)), '\0');
  for (int64_t at = 0; at < size;) {
    const int64_t count = std::min(kHashBlockBytes, size - at);
    RETURN_IF_ERROR(file.ReadAt(at, block.data(), static_cast<size_t>(count)));
    hash.Update(block.data(), static_cast<size_t>(count));
    at += count;
  }
  return hash.Digest();
}

}  // namespace

TokenStore::TokenStore(std::unique_ptr<StoreFile> file, int id_bytes, int64_t num_examples,
                       std::vector<uint64_t> block_records, internal::TokenSetSummary summary)
    : file_(std::move(file)),
      id_bytes_(id_bytes),
      num_examples_(num_examples),
      block_records_(std::move(block_records)),
      summary_(std::move(summary)) {}

absl::StatusOr<std::unique_ptr<TokenStore>> TokenStore::Open(std::unique_ptr<StoreFile> file,
                                                             const std::string& key) {
  const int64_t size = file->size();
  if (size < kStoreHeaderBytes + kStoreTrailerBytes) return DamagedFile(*file, "is truncated");
  const int64_t trailer_at = size - kStoreTrailerBytes;
  ASSIGN_OR_RETURN(const std::string header, ReadPart(*file, 0, kStoreHeaderBytes));
  ASSIGN_OR_RETURN(const std::string trailer, ReadPart(*file, trailer_at, kStoreTrailerBytes));
  const StoreHeader form = {.id_bytes = static_cast<int>(Get<uint32_t>(header, 12)), .key = key};
  if (form.id_bytes < 2 || form.id_bytes > 4 || header != HeaderBytes(form)) {
    return DamagedFile(*file, "has another header than this token store");
  }
  if (trailer.compare(48, 8, kStoreEnd) != 0 ||
      Get<uint64_t>(trailer, 24) != static_cast<uint64_t>(size)) {
    return DamagedFile(*file, "has no valid trailer: it was not finished or is truncated");
  }
  ASSIGN_OR_RETURN(const std::string hash, HashFile(*file, size - 24));
  if (trailer.compare(32, 16, hash) != 0) return DamagedFile(*file, "its hash is wrong");

  // A right hash says that the file is as it was written, not that it was written right.
  const uint64_t examples = Get<uint64_t>(trailer, 0), directory_at = Get<uint64_t>(trailer, 8),
                 summary_at = Get<uint64_t>(trailer, 16);
  const uint64_t blocks = examples / kStoreBlockExamples + (examples % kStoreBlockExamples != 0);
  const uint64_t end = static_cast<uint64_t>(trailer_at);
  if (summary_at > end || directory_at > summary_at || directory_at < kStoreHeaderBytes ||
      examples > end || summary_at - directory_at != blocks * sizeof(uint64_t)) {
    return DamagedFile(*file, "its directory has an invalid offset");
  }
  std::vector<uint64_t> block_records(blocks);
  RETURN_IF_ERROR(file->ReadAt(static_cast<int64_t>(directory_at), block_records.data(),
                               blocks * sizeof(uint64_t)));
  for (uint64_t block = 0; block < blocks; ++block) {
    const uint64_t in_block =
        std::min<uint64_t>(kStoreBlockExamples, examples - block * kStoreBlockExamples);
    if (block_records[block] > directory_at ||
        directory_at - block_records[block] < in_block * kRecordBytes) {
      return DamagedFile(*file, "its records have an invalid offset");
    }
  }
  ASSIGN_OR_RETURN(const std::string bytes, ReadPart(*file, static_cast<int64_t>(summary_at),
                                                     static_cast<int64_t>(end - summary_at)));
  internal::TokenSetSummary summary;
  if (!summary.ParseFromString(bytes) || summary.train().examples() < 0 ||
      summary.validation().examples() < 0 ||
      static_cast<uint64_t>(summary.train().examples()) +
              static_cast<uint64_t>(summary.validation().examples()) !=
          examples) {
    return DamagedFile(*file, "its summary cannot be read");
  }
  return std::unique_ptr<TokenStore>(new TokenStore(std::move(file), form.id_bytes,
                                                    static_cast<int64_t>(examples),
                                                    std::move(block_records), std::move(summary)));
}

absl::Status TokenStore::Damaged(const std::string& what) const {
  return absl::DataLossError(
      absl::StrCat(file_->name(), ": ", what,
                   ": it has changed since it was opened; start again, the tokens are recomputed"));
}

absl::StatusOr<int64_t> TokenStore::RecordOffset(int64_t example) const {
  if (example < 0 || example >= num_examples_) {
    return absl::InternalError(absl::StrCat("no example ", example, " of ", num_examples_));
  }
  const size_t block = static_cast<size_t>(example / kStoreBlockExamples);
  return static_cast<int64_t>(block_records_[block]) +
         example % kStoreBlockExamples * static_cast<int64_t>(kRecordBytes);
}

absl::StatusOr<ExampleRecord> TokenStore::Record(int64_t example) const {
  ASSIGN_OR_RETURN(const int64_t offset, RecordOffset(example));
  char bytes[kRecordBytes];
  RETURN_IF_ERROR(file_->ReadAt(offset, bytes, sizeof(bytes)));
  return DecodeRecord(bytes);
}

absl::StatusOr<TokenExample> TokenStore::Read(int64_t example) const {
  ASSIGN_OR_RETURN(const ExampleRecord record, Record(example));
  const int64_t bytes = EncodedBytes(record.num_tokens, id_bytes_, record.weighted != 0);
  if (record.num_tokens < 0 || record.offset < kStoreHeaderBytes ||
      record.offset > file_->size() - bytes) {
    return Damaged(absl::StrCat("the tokens of example ", example, " are outside of the file"));
  }
  ASSIGN_OR_RETURN(const std::string data, ReadPart(*file_, record.offset, bytes));
  if (HashBytes64(data.data(), data.size()) != record.data_hash) {
    return Damaged(absl::StrCat("the tokens of example ", example, " have another hash"));
  }
  TokenExample result{.index = record.index,
                      .target_spans = record.target_spans,
                      .span_tokens = record.span_tokens};
  DecodeExample(data.data(), record, id_bytes_, &result);
  return result;
}

absl::Status TokenStore::ForEachRecord(int64_t begin, int64_t end, const TakeRecord& take) const {
  std::string bytes;
  while (begin < end) {
    const int64_t block_end = (begin / kStoreBlockExamples + 1) * kStoreBlockExamples;
    const int64_t count = std::min(end, block_end) - begin;
    ASSIGN_OR_RETURN(const int64_t offset, RecordOffset(begin));
    bytes.resize(static_cast<size_t>(count) * kRecordBytes);
    RETURN_IF_ERROR(file_->ReadAt(offset, bytes.data(), bytes.size()));
    for (int64_t i = 0; i < count; ++i) {
      const ExampleRecord record =
          DecodeRecord(bytes.data() + static_cast<size_t>(i) * kRecordBytes);
      RETURN_IF_ERROR(take(begin + i, record));
    }
    begin += count;
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
