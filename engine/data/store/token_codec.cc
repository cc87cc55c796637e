// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/token_codec.h"

#include <bit>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "proto/base/hash.h"

namespace trainerd::engine {

static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(ExampleRecord) == kRecordBytes);

int IdBytesFor(int64_t vocab_size) {
  if (vocab_size <= (int64_t{1} << 16)) return 2;
  return vocab_size <= (int64_t{1} << 24) ? 3 : 4;
}

int64_t EncodedBytes(int64_t num_tokens, int id_bytes, bool weighted) {
  return num_tokens * (id_bytes + (weighted ? static_cast<int64_t>(sizeof(float)) : 0)) +
         (num_tokens + 7) / 8;
}

absl::Status EncodeExample(const TokenExample& example, int id_bytes, std::string* bytes) {
  const size_t count = example.ids.size();
  bytes->assign(static_cast<size_t>(EncodedBytes(static_cast<int64_t>(count), id_bytes)), '\0');
  char* out = bytes->data();
  char* bits = out + count * static_cast<size_t>(id_bytes);
  const uint64_t limit = uint64_t{1} << (8 * id_bytes);
  for (size_t i = 0; i < count; ++i) {
    const int32_t id = example.ids[i], label = example.labels[i];
    if (id < 0 || static_cast<uint64_t>(id) >= limit || (label != id && label != kIgnoreIndex)) {
      return absl::InternalError(absl::StrCat("example ", example.index, ": token ", i, " has id ",
                                              id, " and label ", label,
                                              ", which cannot be stored"));
    }
    std::memcpy(out + i * static_cast<size_t>(id_bytes), &id, static_cast<size_t>(id_bytes));
    if (label != kIgnoreIndex) bits[i / 8] |= static_cast<char>(1 << (i % 8));
  }
  bytes->append(reinterpret_cast<const char*>(example.weights.data()),
                example.weights.size() * sizeof(float));
  return absl::OkStatus();
}

void DecodeExample(const char* bytes, const ExampleRecord& record, int id_bytes,
                   TokenExample* example) {
  const size_t count = static_cast<size_t>(record.num_tokens),
               width = static_cast<size_t>(id_bytes);
  const char* bits = bytes + count * width;
  example->ids.resize(count);
  example->labels.resize(count);
  for (size_t i = 0; i < count; ++i) {
    int32_t id = 0;
    std::memcpy(&id, bytes + i * width, width);
    example->ids[i] = id;
    example->labels[i] = (bits[i / 8] >> (i % 8) & 1) != 0 ? id : kIgnoreIndex;
  }
  if (record.weighted == 0) return;
  example->weights.resize(count);
  std::memcpy(example->weights.data(), bits + (count + 7) / 8, count * sizeof(float));
}

void EncodeRecord(const ExampleRecord& record, char* bytes) {
  std::memcpy(bytes, &record, kRecordBytes);
}

ExampleRecord DecodeRecord(const char* bytes) {
  ExampleRecord record;
  std::memcpy(&record, bytes, kRecordBytes);
  return record;
}

uint64_t HashBytes64(const char* bytes, size_t size) {
  const std::string digest = Xxh3(std::string_view(bytes, size));
  uint64_t hash;
  std::memcpy(&hash, digest.data(), sizeof(hash));
  return hash;
}

}  // namespace trainerd::engine
