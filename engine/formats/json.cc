// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/json.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

// Python stops near 1000 levels, simdjson at 1024.
constexpr int kMaxDepth = 1000;
// The largest double has 309 digits before the point, so a shorter number without an exponent is
// finite.
constexpr size_t kFiniteDigits = 308;
constexpr size_t kShownBytes = 60;

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.';
}

size_t CountDigits(std::string_view text) {
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), IsDigit) - text.begin());
}

// Whether `word` has the form of an RFC 8259 number; *integer = without fraction and exponent.
bool IsNumber(std::string_view word, bool* integer) {
  if (!word.empty() && word[0] == '-') word.remove_prefix(1);
  size_t digits = CountDigits(word);
  if (digits == 0 || (digits > 1 && word[0] == '0')) return false;
  word.remove_prefix(digits);
  *integer = word.empty();
  if (!word.empty() && word[0] == '.') {
    digits = CountDigits(word.substr(1));
    if (digits == 0) return false;
    word.remove_prefix(1 + digits);
  }
  if (word.empty()) return true;
  if (word[0] != 'e' && word[0] != 'E') return false;
  word.remove_prefix(1);
  if (!word.empty() && (word[0] == '+' || word[0] == '-')) word.remove_prefix(1);
  digits = CountDigits(word);
  return digits > 0 && digits == word.size();
}

// The value of an odd number; nullopt if `word` is none.
std::optional<double> OddValue(std::string_view word) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (word == "Infinity") return kInfinity;
  if (word == "-Infinity") return -kInfinity;
  bool integer = false;
  if (!IsNumber(word, &integer)) return std::nullopt;
  if (integer) {
    int64_t fits;
    uint64_t fits_unsigned;
    if (absl::SimpleAtoi(ToAbsl(word), &fits) || absl::SimpleAtoi(ToAbsl(word), &fits_unsigned)) {
      return std::nullopt;
    }
  } else if (word.size() <= kFiniteDigits && word.find_first_of("eE") == std::string_view::npos) {
    return std::nullopt;
  }
  // strtod rounds to infinity where the number is too large.
  const double value = std::strtod(std::string(word).c_str(), nullptr);
  return integer || !std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

struct OddNumber {
  // Numbers that precede it in the text.
  size_t index = 0;
  size_t begin = 0, size = 0;
  double value = 0;
};

// In order of their positions. Text that is not JSON yields anything.
std::vector<OddNumber> FindOddNumbers(std::string_view text) {
  std::vector<OddNumber> found;
  size_t numbers = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      ++i;
      continue;
    }
    if (!IsWordCharacter(text[i])) {
      ++i;
      continue;
    }
    const size_t begin = i;
    while (i < text.size() && IsWordCharacter(text[i])) ++i;
    const std::string_view word = text.substr(begin, i - begin);
    const std::optional<double> value = OddValue(word);
    if (value) found.push_back({numbers, begin, word.size(), *value});
    if (value || word[0] == '-' || IsDigit(word[0])) ++numbers;
  }
  return found;
}

// `text` with `word` and spaces in place of each odd number: positions do not move.
std::string Mask(std::string_view text, const std::vector<OddNumber>& odd, std::string_view word) {
  std::string masked(text);
  for (const OddNumber& number : odd) {
    std::fill_n(masked.begin() + static_cast<std::ptrdiff_t>(number.begin), number.size, ' ');
    masked.replace(number.begin, word.size(), word);
  }
  return masked;
}

// "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while …" → from
// "syntax error" on.
std::string WithoutPrefix(std::string message) {
  const size_t place = message.find(", column ");
  const size_t colon = place == std::string::npos ? place : message.find(": ", place);
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

// Builds the tree. The text has zeros where the odd numbers are.
template <typename Json>
class TreeBuilder : public nlohmann::detail::json_sax_dom_parser<Json> {
  using Base = nlohmann::detail::json_sax_dom_parser<Json>;

 public:
  // `spelled`: the text of the odd numbers; null = they become doubles. All outlive the builder.
  TreeBuilder(const std::vector<OddNumber>& odd, const std::string_view* spelled, Json* root)
      : Base(*root, /*allow_exceptions_=*/false), odd_(odd), spelled_(spelled) {}

  bool number_integer(int64_t value) { return TakeOdd() || Base::number_integer(value); }
  bool number_unsigned(uint64_t value) { return TakeOdd() || Base::number_unsigned(value); }
  bool number_float(double value, const std::string& text) {
    return TakeOdd() || Base::number_float(value, text);
  }
  bool start_object(size_t size) { return Enter() && Base::start_object(size); }
  bool start_array(size_t size) { return Enter() && Base::start_array(size); }
  bool end_object() { return Leave() && Base::end_object(); }
  bool end_array() { return Leave() && Base::end_array(); }
  template <typename Exception>
  bool parse_error(size_t position, const std::string&, const Exception& error) {
    error_ = {static_cast<int64_t>(position), WithoutPrefix(error.what())};
    return false;
  }
  const JsonSyntaxError& error() const { return error_; }

 private:
  bool TakeOdd() {
    const size_t index = numbers_++;
    if (next_ == odd_.size() || odd_[next_].index != index) return false;
    const OddNumber& number = odd_[next_++];
    if (spelled_ == nullptr) return Base::number_float(number.value, "");
    const std::string_view text = spelled_->substr(number.begin, number.size);
    typename Json::binary_t bytes(std::vector<uint8_t>(text.begin(), text.end()));
    return Base::binary(bytes);
  }
  bool Enter() {
    if (++depth_ <= kMaxDepth) return true;
    error_ = {0, absl::StrCat("lists and objects are nested more than ", kMaxDepth, " deep")};
    return false;
  }
  bool Leave() {
    --depth_;
    return true;
  }

  const std::vector<OddNumber>& odd_;
  const std::string_view* const spelled_;
  size_t numbers_ = 0, next_ = 0;
  int depth_ = 0;
  JsonSyntaxError error_;
};

template <typename Json>
std::optional<JsonSyntaxError> Read(std::string_view text, bool keep_spelling, Json* value) {
  const std::vector<OddNumber> odd = FindOddNumbers(text);
  std::string masked;
  if (!odd.empty()) masked = Mask(text, odd, "0");
  const std::string_view input = odd.empty() ? text : masked;
  TreeBuilder<Json> builder(odd, keep_spelling ? &text : nullptr, value);
  if (Json::sax_parse(input.begin(), input.end(), &builder)) return std::nullopt;
  return builder.error();
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

template <typename Json>
absl::StatusOr<Json> Parse(std::string_view text, bool keep_spelling) {
  Json value;
  const std::optional<JsonSyntaxError> error = Read(text, keep_spelling, &value);
  if (!error) return value;
  const std::string advice = JsonFileAdvice(text);
  if (IsBlank(text)) return absl::InvalidArgumentError(advice);
  if (error->column == 0) return absl::InvalidArgumentError(error->message);
  const std::string_view before = text.substr(0, static_cast<size_t>(error->column - 1));
  const size_t newline = before.rfind('\n');
  const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
  return absl::InvalidArgumentError(absl::StrCat(
      "line ", 1 + std::count(before.begin(), before.end(), '\n'), ", column ",
      static_cast<size_t>(error->column) - line_begin, ": ", error->message, "; ", advice));
}

template <typename Json>
std::string Shown(const Json& value) {
  if (value.is_binary()) return std::string(value.get_binary().begin(), value.get_binary().end());
  if (value.is_number_float() && !std::isfinite(value.template get<double>())) {
    const double number = value.template get<double>();
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kShownBytes) return text;
  size_t end = kShownBytes - 3;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;  // no half character
  return text.substr(0, end) + "...";
}

// Replaces each odd number by the text `name` and a count; *spellings = the numbers.
void NameOddNumbers(const std::string& name, nlohmann::ordered_json* value,
                    std::vector<std::string>* spellings) {
  if (value->is_binary()) {
    spellings->push_back(Shown(*value));
    *value = absl::StrCat(name, spellings->size() - 1);
  } else if (value->is_structured()) {
    for (nlohmann::ordered_json& item : *value) NameOddNumbers(name, &item, spellings);
  }
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text) {
  return Parse<nlohmann::json>(text, /*keep_spelling=*/false);
}

absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(std::string_view text) {
  return Parse<nlohmann::ordered_json>(text, /*keep_spelling=*/false);
}

std::string JsonFileAdvice(std::string_view text) {
  return IsBlank(text) ? "the file is empty; download it again"
                       : "download the file again, or repair it";
}

std::optional<JsonSyntaxError> ReadJsonWithSpelling(std::string_view text,
                                                    nlohmann::ordered_json* value) {
  return Read(text, /*keep_spelling=*/true, value);
}

absl::StatusOr<nlohmann::ordered_json> ParseJsonWithSpelling(std::string_view text) {
  return Parse<nlohmann::ordered_json>(text, /*keep_spelling=*/true);
}

std::string WriteJsonWithSpelling(const nlohmann::ordered_json& value) {
  nlohmann::ordered_json named = value;
  std::vector<std::string> spellings;
  // No text of the value contains `name`.
  std::string name = "number";
  const std::string plain = value.dump(0, ' ', false, nlohmann::json::error_handler_t::replace);
  while (plain.find(name) != std::string::npos) name += "_";
  NameOddNumbers(name, &named, &spellings);
  std::string text = named.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  for (size_t i = 0; i < spellings.size(); ++i) {
    const std::string quoted = absl::StrCat("\"", name, i, "\"");
    text.replace(text.find(quoted), quoted.size(), spellings[i]);
  }
  return text;
}

std::optional<std::string> WithoutOddNumbers(std::string_view text) {
  const std::vector<OddNumber> odd = FindOddNumbers(text);
  if (odd.empty()) return std::nullopt;
  return Mask(text, odd, "{}");
}

std::string ShownJson(const nlohmann::json& value) { return Shown(value); }
std::string ShownJson(const nlohmann::ordered_json& value) { return Shown(value); }

}  // namespace trainerd::engine
