// SPDX-License-Identifier: Apache-2.0
// Writes the file of token_store.h, one example at a time. Memory: the records of one block, and
// 8 bytes for each block.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/store/token_store.h"
#include "proto/base/hash.h"

namespace trainerd::engine {

struct StoreHeader {
  int id_bytes = 4;
  std::string key;  // kStoreKeyBytes
};
inline constexpr char kStoreEnd[] = "TRNDEND.";
// The first bytes of a file.
std::string HeaderBytes(const StoreHeader& header);

// Thread-safety: one owner at a time.
class TokenStoreWriter {
 public:
  TokenStoreWriter(std::unique_ptr<StoreFile> file, StoreHeader header);

  // Adds an example. `record` supplies file, line, tokens_before and text_hash.
  // Errors: those of StoreFile::Append and EncodeExample; ResourceExhausted for more than 2^32 − 2.
  absl::Status Add(const TokenExample& example, ExampleRecord record);
  int64_t size() const { return num_examples_; }
  // The first record with this text_hash from example `begin` on; nullopt = none. Cost: reads all
  // records. Errors: those of StoreFile.
  absl::StatusOr<std::optional<ExampleRecord>> FindText(uint64_t text_hash, int64_t begin);

  // Completes the file and returns its reader. Nothing else may be called afterwards.
  absl::StatusOr<std::unique_ptr<TokenStore>> Finish(internal::TokenSetSummary summary);
  const StoreFile& file() const { return *file_; }

 private:
  absl::Status Write(const void* data, size_t size);
  absl::Status EndBlock();

  std::unique_ptr<StoreFile> file_;
  const StoreHeader header_;
  Xxh3Stream hash_;
  std::string records_;                  // of the current block
  std::vector<uint64_t> block_records_;  // offsets
  std::string scratch_;
  int64_t num_examples_ = 0;
};

}  // namespace trainerd::engine
