// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/token_store_writer.h"

#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kStoreMagic[] = "TRNDROWS";
constexpr uint32_t kStoreVersion = 2;

template <typename Number>
void Put(Number number, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&number), sizeof(number));
}

}  // namespace

std::string HeaderBytes(const StoreHeader& header) {
  std::string bytes = kStoreMagic;
  Put(kStoreVersion, &bytes);
  Put(static_cast<uint32_t>(header.id_bytes), &bytes);
  bytes += header.key;
  bytes.resize(static_cast<size_t>(kStoreHeaderBytes), '\0');
  return bytes;
}

TokenStoreWriter::TokenStoreWriter(std::unique_ptr<StoreFile> file, StoreHeader header)
    : file_(std::move(file)), header_(std::move(header)) {
  TRAINERD_CHECK(header_.key.size() == kStoreKeyBytes && file_->size() == 0);
}

absl::Status TokenStoreWriter::Write(const void* data, size_t size) {
  hash_.Update(data, size);
  return file_->Append(data, size);
}

absl::Status TokenStoreWriter::Add(const TokenExample& example, ExampleRecord record) {
  if (num_examples_ >= std::numeric_limits<uint32_t>::max() - 1) {
    return absl::ResourceExhaustedError("a data set of more than 4 billion conversations");
  }
  if (file_->size() == 0) {
    const std::string header = HeaderBytes(header_);
    RETURN_IF_ERROR(Write(header.data(), header.size()));
  }
  RETURN_IF_ERROR(EncodeExample(example, header_.id_bytes, &scratch_));
  record.offset = file_->size();
  record.data_hash = HashBytes64(scratch_.data(), scratch_.size());
  record.index = example.index;
  record.num_tokens = static_cast<int32_t>(example.ids.size());
  record.weighted = example.weights.empty() ? 0 : 1;
  record.num_targets = static_cast<int32_t>(example.CountTargets());
  record.target_spans = example.target_spans;
  record.span_tokens = example.span_tokens;
  RETURN_IF_ERROR(Write(scratch_.data(), scratch_.size()));
  char bytes[kRecordBytes];
  EncodeRecord(record, bytes);
  records_.append(bytes, sizeof(bytes));
  ++num_examples_;
  return num_examples_ % kStoreBlockExamples == 0 ? EndBlock() : absl::OkStatus();
}

absl::StatusOr<std::optional<ExampleRecord>> TokenStoreWriter::FindText(uint64_t text_hash,
                                                                        int64_t begin) {
  RETURN_IF_ERROR(file_->Flush());
  std::string records;
  for (size_t block = static_cast<size_t>(begin / kStoreBlockExamples);
       block <= block_records_.size(); ++block) {
    if (block < block_records_.size()) {
      records.resize(static_cast<size_t>(kStoreBlockExamples) * kRecordBytes);
      RETURN_IF_ERROR(file_->ReadAt(static_cast<int64_t>(block_records_[block]), records.data(),
                                    records.size()));
    } else {
      records = records_;
    }
    for (size_t at = 0; at < records.size(); at += kRecordBytes) {
      const int64_t example = static_cast<int64_t>(block) * kStoreBlockExamples +
                              static_cast<int64_t>(at / kRecordBytes);
      const ExampleRecord record = DecodeRecord(records.data() + at);
      if (example >= begin && record.text_hash == text_hash) return record;
    }
  }
  return std::nullopt;
}

absl::Status TokenStoreWriter::EndBlock() {
  block_records_.push_back(static_cast<uint64_t>(file_->size()));
  RETURN_IF_ERROR(Write(records_.data(), records_.size()));
  records_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TokenStore>> TokenStoreWriter::Finish(
    internal::TokenSetSummary summary) {
  if (file_->size() == 0) {
    const std::string header = HeaderBytes(header_);
    RETURN_IF_ERROR(Write(header.data(), header.size()));
  }
  if (!records_.empty()) RETURN_IF_ERROR(EndBlock());
  const uint64_t directory_at = static_cast<uint64_t>(file_->size());
  RETURN_IF_ERROR(Write(block_records_.data(), block_records_.size() * sizeof(uint64_t)));
  const std::string bytes = summary.SerializeAsString();
  const uint64_t summary_at = static_cast<uint64_t>(file_->size());
  RETURN_IF_ERROR(Write(bytes.data(), bytes.size()));
  const uint64_t size = static_cast<uint64_t>(file_->size() + kStoreTrailerBytes);
  std::string trailer;
  for (const uint64_t number :
       {static_cast<uint64_t>(num_examples_), directory_at, summary_at, size}) {
    Put(number, &trailer);
  }
  RETURN_IF_ERROR(Write(trailer.data(), trailer.size()));
  trailer = hash_.Digest() + kStoreEnd;
  RETURN_IF_ERROR(file_->Append(trailer.data(), trailer.size()));
  RETURN_IF_ERROR(file_->Flush());
  return std::unique_ptr<TokenStore>(new TokenStore(std::move(file_), header_.id_bytes,
                                                    num_examples_, std::move(block_records_),
                                                    std::move(summary)));
}

}  // namespace trainerd::engine
