// SPDX-License-Identifier: Apache-2.0
// The encoding of examples and their records in a token store (token_store.h). Little-endian.
//   example   its ids, 2, 3 or 4 bytes each; then one bit per token, lowest first: 1 = the label is
//             the id, 0 = kIgnoreIndex; padded to a byte; then, of a weighted example, its weights,
//             fp32
//   record    64 bytes: ExampleRecord's fields in order
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/data/store/example.h"

namespace trainerd::engine {

// An example's properties without its tokens.
struct ExampleRecord {
  int64_t offset = 0;      // of its tokens in the file
  uint64_t data_hash = 0;  // XXH3 of their bytes
  uint64_t text_hash = 0;  // of the rendered conversation
  int64_t index = 0;       // TokenExample::index
  int64_t line = 0;        // 1-based, of file `file`
  int16_t file = 0;        // position in data.train; data.validation comes after the last of them
  int16_t weighted = 0;    // 1: TokenExample::weights are stored
  int32_t num_tokens = 0;
  int32_t tokens_before = 0;  // before truncation
  int32_t num_targets = 0;    // TokenExample::CountTargets
  int32_t target_spans = 0;   // as in TokenExample
  int32_t span_tokens = 0;
};
inline constexpr size_t kRecordBytes = 64;

// Bytes of an id for a vocabulary of that size.
int IdBytesFor(int64_t vocab_size);
int64_t EncodedBytes(int64_t num_tokens, int id_bytes, bool weighted = false);

// Replaces *bytes. Errors: Internal if an id does not fit or a label is neither the id nor
// kIgnoreIndex.
absl::Status EncodeExample(const TokenExample& example, int id_bytes, std::string* bytes);
// Fills ids, labels and weights from EncodedBytes(…) bytes.
void DecodeExample(const char* bytes, const ExampleRecord& record, int id_bytes,
                   TokenExample* example);

void EncodeRecord(const ExampleRecord& record, char* bytes);
ExampleRecord DecodeRecord(const char* bytes);

// The first 64 bits of XXH3-128.
uint64_t HashBytes64(const char* bytes, size_t size);

}  // namespace trainerd::engine
