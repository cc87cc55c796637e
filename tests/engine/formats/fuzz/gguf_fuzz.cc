// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: a GGUF file → what its header promises must lie inside of it, and be readable.
#include "engine/formats/gguf/gguf_file.h"
#include "tests/engine/fuzz_folder.h"

using trainerd::engine::GgufArray;
using trainerd::engine::GgufFile;

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

int64_t Sum(std::string_view bytes) {
  int64_t sum = 0;
  for (const char byte : bytes) sum += byte;
  return sum;
}

int64_t Sum(const GgufArray& list) {
  int64_t sum = Sum(list.bytes);
  for (const std::string_view text : list.texts) sum += Sum(text);
  for (const GgufArray& inner : list.arrays) sum += Sum(inner);
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const trainerd::testing::FuzzFolder folder;
  const std::string path =
      folder.Write("model.gguf", std::string_view(reinterpret_cast<const char*>(data), size));
  const auto file = GgufFile::Open(path);
  if (!file.ok()) {
    Check(!file.status().message().empty());
    return 0;
  }
  int64_t sum = 0, covered = 0;
  for (const auto& [key, value] : (*file)->metadata().values()) {
    if (const auto* text = std::get_if<std::string_view>(&value)) sum += Sum(*text);
    if (const auto* list = std::get_if<GgufArray>(&value)) sum += Sum(*list);
    sum += (*file)->metadata().Integers(key).ok() ? 1 : 0;
    sum += (*file)->metadata().Numbers(key).ok() ? 1 : 0;
  }
  std::vector<float> values;
  for (const auto& tensor : (*file)->tensors()) {
    Check((*file)->Find(tensor.name) == &tensor);
    Check(tensor.offset + tensor.size_bytes <= static_cast<int64_t>(size));
    values.resize(static_cast<size_t>(tensor.num_elements()));
    Dequantize(tensor.type, (*file)->Bytes(tensor), absl::MakeSpan(values));
    covered += tensor.size_bytes;
    (*file)->Release(tensor);
  }
  static volatile int64_t sink;
  sink = sum;
  Check(covered <= static_cast<int64_t>(size));
  return 0;
}
