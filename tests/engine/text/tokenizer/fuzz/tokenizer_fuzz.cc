// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: content of tokenizer.json, a NUL, content of tokenizer_config.json → load,
// encode, decode.
#include "absl/strings/string_view.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/fuzz_folder.h"

using trainerd::engine::Encoding;
using trainerd::engine::Tokenizer;

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckOffsets(const Encoding& e, size_t text_size) {
  for (size_t i = 0; i < e.size(); ++i) Check(e.begin[i] <= e.end[i] && e.end[i] <= text_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const trainerd::testing::FuzzFolder folder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\0');
  folder.Write("tokenizer.json", input.substr(0, cut));
  folder.Write("tokenizer_config.json",
               cut != std::string_view::npos ? input.substr(cut + 1) : std::string_view("{}"));
  const auto tokenizer = Tokenizer::Load(folder.path());
  if (!tokenizer.ok()) return 0;
  Encoding e, again;
  for (const std::string_view text : {"Hello world, it's <|im_end|> naïve e\u0301 123\n\n x",
                                      "aaaaaaaaaaaaaaaa", "你好\u1112\u1161", "!!ab ba", ""}) {
    for (const bool special : {false, true}) {
      Check((*tokenizer)->Encode(text, &e, special).ok());
      CheckOffsets(e, text.size());
      (void)(*tokenizer)->Decode(e.ids, special);
    }
    // Out of the warm word cache.
    Check((*tokenizer)->Encode(text, &again, /*add_special_tokens=*/true).ok());
    Check(again.ids == e.ids);
    const trainerd::engine::TextSpan all[] = {{0, static_cast<uint32_t>(text.size())}};
    Check((*tokenizer)->EncodeWithPlainText(text, all, &e).ok());
    CheckOffsets(e, text.size());
  }
  return 0;
}
