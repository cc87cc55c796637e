// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_steps.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/text/tokenizer/tokenizer_json.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;
using tokenizer_json::BoolOr;
using tokenizer_json::Malformed;
using tokenizer_json::ObjectAt;
using tokenizer_json::StringOr;
using tokenizer_json::Unsupported;

constexpr int kMaxNesting = 16;  // Sequence within Sequence …
// The replacements of a file may make a text this many times as long, so that a small file cannot
// fill the memory.
constexpr double kMaxGrowth = 64.0;
constexpr size_t kMaxPrependBytes = 1024;

// One step of a part, and where it is.
struct StepAt {
  object content;
  std::string path;
  std::string_view type;
};

// Appends the steps of `e`, those of a Sequence in order; `list` is the key of its list.
absl::Status ListSteps(const element& e, const std::string& path, const char* list, int depth,
                       std::vector<StepAt>* steps) {
  if (e.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const object o, ObjectAt(e, path));
  const std::string_view type = StringOr(o, "type", "");
  if (type != "Sequence") {
    steps->push_back({o, path, type});
    return absl::OkStatus();
  }
  if (depth > kMaxNesting) return Unsupported(path + ".type", type);
  array items;
  if (o[list].get(items) != simdjson::SUCCESS) {
    return Malformed(absl::StrCat(path, ".", list), "expected a list");
  }
  size_t index = 0;
  for (const element item : items) {
    RETURN_IF_ERROR(
        ListSteps(item, absl::StrCat(path, ".", list, "[", index++, "]"), list, depth + 1, steps));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StepAt>> StepsOf(const element& root, const char* key,
                                            const char* list) {
  std::vector<StepAt> steps;
  element part;
  if (root[key].get(part) == simdjson::SUCCESS) {
    RETURN_IF_ERROR(ListSteps(part, absl::StrCat("$.", key), list, 0, &steps));
  }
  return steps;
}

absl::StatusOr<std::string> TextAt(const StepAt& step, const char* key) {
  std::string_view text;
  if (step.content[key].get(text) != simdjson::SUCCESS) {
    return Malformed(absl::StrCat(step.path, ".", key), "expected a text");
  }
  return std::string(text);
}

absl::StatusOr<std::string> CharacterAt(const StepAt& step, const char* key) {
  ASSIGN_OR_RETURN(std::string text, TextAt(step, key));
  if (!IsOneCharacter(text)) {
    return Malformed(absl::StrCat(step.path, ".", key), "expected one character");
  }
  return text;
}

// {"pattern": {"String": " "}}
absl::StatusOr<std::string> PatternOf(const StepAt& step) {
  std::string_view text;
  object pattern;
  if (step.content["pattern"].get(pattern) != simdjson::SUCCESS ||
      pattern["String"].get(text) != simdjson::SUCCESS || text.empty()) {
    return Unsupported(step.path + ".pattern", "a pattern that is not a text");
  }
  return std::string(text);
}

// Multiplies *growth by that of a replacement.
absl::Status CheckGrowth(const StepAt& step, std::string_view pattern, std::string_view content,
                         double* growth) {
  *growth *=
      std::max(1.0, static_cast<double>(content.size()) / static_cast<double>(pattern.size()));
  if (*growth <= kMaxGrowth) return absl::OkStatus();
  return Unsupported(step.path, "a replacement that makes a text more than 64 times as long");
}

absl::StatusOr<Normalizer> ParseNormalizer(const element& root) {
  ASSIGN_OR_RETURN(const std::vector<StepAt> list, StepsOf(root, "normalizer", "normalizers"));
  using Kind = Normalizer::Step::Kind;
  std::vector<Normalizer::Step> steps;
  double growth = 1.0;
  for (const StepAt& step : list) {
    if (step.type == "NFC") {
      steps.push_back({Kind::kNfc, "", ""});
    } else if (step.type == "Prepend") {
      ASSIGN_OR_RETURN(std::string content, TextAt(step, "prepend"));
      if (content.size() > kMaxPrependBytes) {
        return Unsupported(step.path + ".prepend", "a text of more than 1024 bytes");
      }
      steps.push_back({Kind::kPrepend, "", std::move(content)});
    } else if (step.type == "Replace") {
      ASSIGN_OR_RETURN(std::string pattern, PatternOf(step));
      ASSIGN_OR_RETURN(std::string content, TextAt(step, "content"));
      RETURN_IF_ERROR(CheckGrowth(step, pattern, content, &growth));
      steps.push_back({Kind::kReplace, std::move(pattern), std::move(content)});
    } else {
      return Unsupported(step.path + ".type", step.type);
    }
  }
  if (const int at = Normalizer::WritesSpace(steps); at >= 0) {
    return Unsupported(list[static_cast<size_t>(at)].path,
                       "a space that is written after spaces were replaced");
  }
  return Normalizer(std::move(steps));
}

absl::Status AddSplit(const StepAt& step, EncoderSteps* out) {
  std::string_view regex;
  object pattern;
  if (step.content["pattern"].get(pattern) != simdjson::SUCCESS) {
    return Malformed(step.path + ".pattern", "expected an object");
  }
  if (std::string_view text; pattern["String"].get(text) == simdjson::SUCCESS && text == " " &&
                             !out->normalizer.space_symbol().empty()) {
    return absl::OkStatus();  // no space is left
  }
  if (pattern["Regex"].get(regex) != simdjson::SUCCESS) {
    return Unsupported(step.path + ".pattern", "a pattern that is not a regular expression");
  }
  const PieceScanner scanner = ScannerOfRegex(regex);
  if (scanner == nullptr) return Unsupported(step.path + ".pattern.Regex", regex);
  const std::string_view behavior = StringOr(step.content, "behavior", "");
  const bool invert = BoolOr(step.content, "invert", false);
  if (!(behavior == "Isolated" || (behavior == "Removed" && invert))) {
    return Unsupported(step.path + ".behavior", behavior);
  }
  out->pre_tokenizer.AddStep(scanner);
  return absl::OkStatus();
}

absl::StatusOr<SpaceInFront> ParsePrependScheme(const StepAt& step) {
  const std::string_view scheme = StringOr(step.content, "prepend_scheme", "always");
  // Files of older versions have add_prefix_space; with both, they must not contradict each other.
  if (!BoolOr(step.content, "add_prefix_space", true) && scheme != "never") {
    return Malformed(step.path + ".add_prefix_space", "contradicts prepend_scheme");
  }
  if (scheme == "always") return SpaceInFront::kAlways;
  if (scheme == "first") return SpaceInFront::kFirst;
  if (scheme == "never") return SpaceInFront::kNever;
  return Malformed(step.path + ".prepend_scheme", "expected always, first or never");
}

absl::Status AddMetaspace(const StepAt& step, EncoderSteps* out) {
  ASSIGN_OR_RETURN(const std::string symbol, CharacterAt(step, "replacement"));
  ASSIGN_OR_RETURN(const SpaceInFront in_front, ParsePrependScheme(step));
  const std::string_view replaced = out->normalizer.space_symbol();
  if (!out->pre_tokenizer.space_symbol().empty() || symbol == " " ||
      (!replaced.empty() && replaced != symbol)) {
    return Unsupported(step.path + ".replacement", "a second character for a space");
  }
  out->pre_tokenizer.PrefixSpaceHere(in_front);
  out->pre_tokenizer.SetSpaceSymbol(symbol);
  if (BoolOr(step.content, "split", true)) out->pre_tokenizer.AddStep(MetaspaceScanner());
  return absl::OkStatus();
}

absl::Status ParsePreTokenizer(const element& root, EncoderSteps* out) {
  ASSIGN_OR_RETURN(const std::vector<StepAt> steps,
                   StepsOf(root, "pre_tokenizer", "pretokenizers"));
  const StepAt* split = nullptr;
  for (const StepAt& step : steps) {
    if (out->byte_level) return Unsupported(step.path, "a step after ByteLevel");
    if (step.type == "Split") {
      const size_t before = out->pre_tokenizer.num_steps();
      RETURN_IF_ERROR(AddSplit(step, out));
      if (out->pre_tokenizer.num_steps() > before) split = &step;
    } else if (step.type == "Digits") {
      out->pre_tokenizer.AddStep(DigitsScanner(BoolOr(step.content, "individual_digits", false)));
    } else if (step.type == "ByteLevel") {
      if (!out->pre_tokenizer.space_symbol().empty() || !out->normalizer.space_symbol().empty()) {
        return Unsupported(step.path, "ByteLevel after spaces were replaced");
      }
      if (BoolOr(step.content, "add_prefix_space", true)) {
        out->pre_tokenizer.PrefixSpaceHere(SpaceInFront::kAlways);
      }
      if (BoolOr(step.content, "use_regex", true)) out->pre_tokenizer.AddStep(Gpt2Scanner());
      out->byte_level = true;
    } else if (step.type == "Metaspace") {
      RETURN_IF_ERROR(AddMetaspace(step, out));
    } else {
      return Unsupported(step.path + ".type", step.type);
    }
  }
  if (split != nullptr && !out->byte_level) {
    return Unsupported(split->path, "a regular expression over text that is not made byte-level");
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenDecoder::Step> ParseDecoderStep(const StepAt& step, double* growth) {
  using Kind = TokenDecoder::Step::Kind;
  TokenDecoder::Step out{};
  if (step.type == "Replace") {
    out.kind = Kind::kReplace;
    ASSIGN_OR_RETURN(out.pattern, PatternOf(step));
    ASSIGN_OR_RETURN(out.content, TextAt(step, "content"));
    RETURN_IF_ERROR(CheckGrowth(step, out.pattern, out.content, growth));
  } else if (step.type == "Metaspace") {
    out.kind = Kind::kMetaspace;
    ASSIGN_OR_RETURN(out.pattern, CharacterAt(step, "replacement"));
    ASSIGN_OR_RETURN(const SpaceInFront in_front, ParsePrependScheme(step));
    out.drop_first = in_front != SpaceInFront::kNever;
  } else if (step.type == "ByteFallback") {
    out.kind = Kind::kByteFallback;
  } else if (step.type == "Fuse") {
    out.kind = Kind::kFuse;
  } else if (step.type == "Strip") {
    out.kind = Kind::kStrip;
    ASSIGN_OR_RETURN(out.pattern, CharacterAt(step, "content"));
    if (step.content["start"].get(out.start) != simdjson::SUCCESS ||
        step.content["stop"].get(out.stop) != simdjson::SUCCESS || out.start < 0 || out.stop < 0) {
      return Malformed(step.path, "expected the counts \"start\" and \"stop\"");
    }
  } else {
    return Unsupported(step.path + ".type", step.type);
  }
  return out;
}

}  // namespace

absl::StatusOr<EncoderSteps> ParseEncoderSteps(const element& root) {
  EncoderSteps steps;
  ASSIGN_OR_RETURN(steps.normalizer, ParseNormalizer(root));
  RETURN_IF_ERROR(ParsePreTokenizer(root, &steps));
  return steps;
}

absl::StatusOr<TokenDecoder> ParseDecoder(const element& root, bool byte_level) {
  element part;
  if (root["decoder"].get(part) != simdjson::SUCCESS || part.is_null()) {
    return Unsupported("$.decoder", "no decoder");
  }
  ASSIGN_OR_RETURN(const std::vector<StepAt> steps, StepsOf(root, "decoder", "decoders"));
  if (byte_level) {
    if (steps.size() == 1 && steps[0].type == "ByteLevel") return TokenDecoder();
    for (const StepAt& step : steps) {
      if (step.type != "ByteLevel") return Unsupported(step.path + ".type", step.type);
    }
    return Unsupported("$.decoder", "other than one ByteLevel step");
  }
  // Tokens are joined whether or not a step does it.
  TokenDecoder decoder = TokenDecoder::OfCharacters();
  double growth = 1.0;
  for (const StepAt& step : steps) {
    ASSIGN_OR_RETURN(TokenDecoder::Step parsed, ParseDecoderStep(step, &growth));
    if (const absl::Status status = decoder.Add(std::move(parsed)); !status.ok()) {
      return Unsupported(step.path, std::string(status.message()));
    }
  }
  return decoder;
}

}  // namespace trainerd::engine
