// SPDX-License-Identifier: Apache-2.0
// Examples in a file instead of in memory. Written once, front to back (token_store_writer.h). Then
// examples are read one by one with pread, so that a damaged file is a status and never a signal.
//
//   file     := header block* directory summary trailer
//   header   := "TRNDROWS" u32 version u32 id_bytes key[32] zeros[16]               64 bytes
//   block    := example{n} record{n}          n = 4096, fewer in the last block (token_codec.h)
//   directory:= u64 offset of the records, for each block
//   summary  := TokenSetSummary, serialised
//   trailer  := u64 examples u64 directory offset u64 summary offset u64 file size
//               XXH3-128 of all before it [16] "TRNDEND."                             56 bytes
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/store/example.h"
#include "engine/data/store/store_file.h"
#include "engine/data/store/token_codec.h"
#include "trainerd/internal/token_store.pb.h"

namespace trainerd::engine {

inline constexpr int64_t kStoreHeaderBytes = 64, kStoreTrailerBytes = 56;
inline constexpr int64_t kStoreBlockExamples = 4096;
inline constexpr size_t kStoreKeyBytes = 32;

// Memory: 8 bytes for each 4096 examples, and what is being read. Thread-safety: const methods may
// be called from many threads.
class TokenStore {
 public:
  // Reads a whole file and checks it: form, key, hash. Errors: DataLoss with the reason; those of
  // reading.
  static absl::StatusOr<std::unique_ptr<TokenStore>> Open(std::unique_ptr<StoreFile> file,
                                                          const std::string& key);

  int64_t size() const { return num_examples_; }
  const internal::TokenSetSummary& summary() const { return summary_; }
  const StoreFile& file() const { return *file_; }

  // Errors of all: DataLoss if the file has changed since it was checked; those of reading.
  absl::StatusOr<ExampleRecord> Record(int64_t example) const;
  absl::StatusOr<TokenExample> Read(int64_t example) const;
  // Records begin … end − 1, in order, one block at a time. A non-OK status of `take` ends it.
  using TakeRecord = std::function<absl::Status(int64_t example, const ExampleRecord& record)>;
  absl::Status ForEachRecord(int64_t begin, int64_t end, const TakeRecord& take) const;

 private:
  friend class TokenStoreWriter;
  TokenStore(std::unique_ptr<StoreFile> file, int id_bytes, int64_t num_examples,
             std::vector<uint64_t> block_records, internal::TokenSetSummary summary);
  absl::Status Damaged(const std::string& what) const;
  // Offset of record `example` in the file.
  absl::StatusOr<int64_t> RecordOffset(int64_t example) const;

  const std::unique_ptr<StoreFile> file_;
  const int id_bytes_;
  const int64_t num_examples_;
  const std::vector<uint64_t> block_records_;  // offset of each block's records
  const internal::TokenSetSummary summary_;
};

}  // namespace trainerd::engine
