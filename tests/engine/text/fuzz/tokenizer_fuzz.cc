// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: content of tokenizer.json → load, encode, decode. Seeds:
// tests/golden/text/tokenizers/*/tokenizer.json.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string folder = [] {
    std::string path = (std::filesystem::temp_directory_path() / "tokenizer-fuzz-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) std::abort();
    return path;
  }();
  std::ofstream(folder + "/tokenizer.json", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto tokenizer = trainerd::engine::Tokenizer::Load(folder);
  if (!tokenizer.ok()) return 0;
  trainerd::engine::Encoding e;
  for (const std::string_view text : {"Hello world, it's <|im_end|> naïve e\u0301 123\n\n x",
                                      "aaaaaaaaaaaaaaaa", "你好\u1112\u1161", "!!ab ba"}) {
    for (const bool special : {false, true}) {
      if (!(*tokenizer)->Encode(text, &e, special).ok()) std::abort();
      for (size_t i = 0; i < e.size(); ++i) {
        if (e.begin[i] > e.end[i] || e.end[i] > text.size()) std::abort();
      }
      (void)(*tokenizer)->Decode(e.ids, special);
    }
  }
  return 0;
}
