// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_json.h"

#include "absl/strings/str_cat.h"

namespace trainerd::engine::tokenizer_json {

using simdjson::dom::element;
using simdjson::dom::object;

absl::Status Malformed(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json ", path, ": ", absl::string_view(what.data(), what.size())));
}
absl::Status Unsupported(const std::string& path, std::string_view what) {
  return absl::UnimplementedError(absl::StrCat(
      "tokenizer.json ", path, ": ", absl::string_view(what.data(), what.size()),
      " is not supported; supported are byte-level BPE tokenizers (Qwen 2 to 3, Llama 3, GPT-2, "
      "SmolLM2, Mistral Nemo) and SentencePiece-style BPE tokenizers (Llama 2, Mistral 7B, Phi-3, "
      "Gemma)"));
}

bool IsNull(const object& o, std::string_view key) {
  element e;
  return o[key].get(e) != simdjson::SUCCESS || e.is_null();
}

bool BoolOr(const object& o, std::string_view key, bool otherwise) {
  bool b;
  return o[key].get(b) == simdjson::SUCCESS ? b : otherwise;
}

std::string_view StringOr(const object& o, std::string_view key, std::string_view otherwise) {
  std::string_view s;
  return o[key].get(s) == simdjson::SUCCESS ? s : otherwise;
}

absl::StatusOr<object> ObjectAt(const element& e, const std::string& path) {
  object o;
  if (e.get(o) != simdjson::SUCCESS) return Malformed(path, "expected an object");
  return o;
}

absl::StatusOr<int32_t> TokenId(const element& e, const std::string& path) {
  int64_t id;
  if (e.get(id) != simdjson::SUCCESS || id < 0 || id > kMaxTokenId) {
    return Malformed(path, "expected a token id, 0 to 16777215");
  }
  return static_cast<int32_t>(id);
}

}  // namespace trainerd::engine::tokenizer_json
