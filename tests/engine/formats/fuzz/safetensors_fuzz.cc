// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: a safetensors file → what its header promises must lie inside of it.
#include "engine/formats/safetensors.h"
#include "tests/engine/fuzz_folder.h"

using trainerd::engine::SafetensorsFile;

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const trainerd::testing::FuzzFolder folder;
  const std::string path = folder.Write(
      "model.safetensors", std::string_view(reinterpret_cast<const char*>(data), size));
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) {
    Check(!file.status().message().empty());
    return 0;
  }
  int64_t sum = 0, covered = 0;
  for (const auto& info : (*file)->tensors()) {
    Check((*file)->Find(info.name) == &info);
    Check(info.offset >= 8 && info.size_bytes >= 0);
    Check(info.offset + info.size_bytes <= static_cast<int64_t>(size));
    int64_t count = 1;
    for (const int64_t dim : info.shape) {
      Check(dim >= 0);
      count *= dim;
    }
    Check(count * SizeOf(info.dtype) == info.size_bytes);
    const std::string_view bytes = (*file)->Bytes(info);
    Check(static_cast<int64_t>(bytes.size()) == info.size_bytes);
    for (const char byte : bytes) sum += byte;
    covered += info.size_bytes;
    (*file)->Release(info);
  }
  static volatile int64_t sink;
  sink = sum;
  Check(covered <= static_cast<int64_t>(size));
  return 0;
}
