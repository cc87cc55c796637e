// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/syntax/lexer.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "engine/text/unicode/unicode_tables.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool IsNameStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0;
}
bool IsNameChar(char c) { return IsNameStart(c) || (c >= '0' && c <= '9'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Replaces \r\n and \r by \n and removes one newline at the end.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : s_(std::move(source)) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < s_.size()) RETURN_IF_ERROR(LexData());
    Push(TokenKind::kEnd, "", s_.size());
    return std::move(tokens_);
  }

 private:
  Position PositionOf(size_t offset) {
    // Offsets arrive in ascending order, so counting continues from the last one.
    if (offset < counted_) {
      counted_ = 0;
      line_ = 1;
      line_begin_ = 0;
    }
    for (; counted_ < offset; ++counted_) {
      if (s_[counted_] == '\n') {
        ++line_;
        line_begin_ = counted_ + 1;
      }
    }
    return {line_, static_cast<uint32_t>(offset - line_begin_ + 1)};
  }

  void Push(TokenKind kind, std::string text, size_t offset) {
    tokens_.push_back({kind, std::move(text), PositionOf(offset)});
  }

  absl::Status Error(size_t offset, std::string_view what) {
    return TemplateError(PositionOf(offset), what);
  }

  bool StartsWith(size_t at, std::string_view text) const {
    return s_.compare(at, text.size(), text) == 0;
  }

  size_t SkipSpace(size_t at) const {
    while (at < s_.size() && IsSpace(s_[at])) ++at;
    return at;
  }

  // Reads the text from at_ to the next tag, and the tag.
  absl::Status LexData() {
    size_t open = at_;
    for (;; ++open) {
      open = s_.find('{', open);
      if (open == kNone) break;
      const char next = open + 1 < s_.size() ? s_[open + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
    }
    if (open == kNone) {
      Push(TokenKind::kData, s_.substr(at_), at_);
      at_ = s_.size();
      return absl::OkStatus();
    }
    const char kind = s_[open + 1];
    const char sign = open + 2 < s_.size() ? s_[open + 2] : '\0';
    PushData(at_, StrippedEnd(at_, open, sign, /*is_output=*/kind == '{'));
    at_ = open + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (kind == '#') return SkipComment(open);
    if (kind == '%') {
      if (const size_t raw = AfterRawTag(at_, "raw", /*trim_newline=*/false); raw != kNone) {
        at_ = raw;
        return LexRaw(open);
      }
    }
    Push(kind == '{' ? TokenKind::kOutputBegin : TokenKind::kBlockBegin, "", open);
    return LexTag(open, kind == '{' ? '}' : '%');
  }

  void PushData(size_t begin, size_t end) {
    if (end > begin) Push(TokenKind::kData, s_.substr(begin, end - begin), begin);
  }

  // The end of the text [begin, end) before a tag, after white space control.
  size_t StrippedEnd(size_t begin, size_t end, char sign, bool is_output) {
    if (sign == '-') {
      while (end > begin && IsSpace(s_[end - 1])) --end;
      return end;
    }
    if (sign == '+' || is_output) return end;
    size_t line = end;
    while (line > begin && s_[line - 1] != '\n') --line;
    if (line == begin && !line_starting_) return end;
    for (size_t i = line; i < end; ++i) {
      if (!IsSpace(s_[i])) return end;
    }
    return line;
  }

  // The offset after "%}" or "#}" at `at` and after the newline that trim_blocks removes; after all
  // white space for "-%}", directly after the tag for "+%}". kNone if no tag ends at `at`.
  size_t AfterEnd(size_t at, char mark, bool trim_newline) {
    const char sign = at < s_.size() ? s_[at] : '\0';
    if (sign == '-' || sign == '+') ++at;
    if (at + 1 >= s_.size() || s_[at] != mark || s_[at + 1] != '}') return kNone;
    at += 2;
    if (sign == '-') {
      at = SkipSpace(at);
    } else if (sign != '+' && trim_newline && at < s_.size() && s_[at] == '\n') {
      ++at;
    }
    line_starting_ = s_[at - 1] == '\n';
    return at;
  }

  absl::Status SkipComment(size_t open) {
    const size_t close = s_.find("#}", at_);
    if (close == kNone) return Error(open, "comment without its end #}");
    const size_t sign =
        close > at_ && (s_[close - 1] == '-' || s_[close - 1] == '+') ? close - 1 : close;
    at_ = AfterEnd(sign, '#', /*trim_newline=*/true);
    return absl::OkStatus();
  }

  // The offset after "NAME %}" at `at`, or kNone.
  size_t AfterRawTag(size_t at, std::string_view name, bool trim_newline) {
    at = SkipSpace(at);
    if (!StartsWith(at, name)) return kNone;
    at += name.size();
    if (at < s_.size() && IsNameChar(s_[at])) return kNone;
    return AfterEnd(SkipSpace(at), '%', trim_newline);
  }

  absl::Status LexRaw(size_t open) {
    for (size_t end = at_;; end += 2) {
      end = s_.find("{%", end);
      if (end == kNone) return Error(open, "raw block without its end {% endraw %}");
      const char sign = end + 2 < s_.size() ? s_[end + 2] : '\0';
      const size_t name = end + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      const bool starting = line_starting_;
      const size_t after = AfterRawTag(name, "endraw", /*trim_newline=*/true);
      if (after == kNone) continue;
      const bool after_starting = line_starting_;
      line_starting_ = starting;
      PushData(at_, StrippedEnd(at_, end, sign, /*is_output=*/false));
      line_starting_ = after_starting;
      at_ = after;
      return absl::OkStatus();
    }
  }

  // Reads the tokens of a tag until its end: `mark`, then '}'.
  absl::Status LexTag(size_t open, char mark) {
    std::string brackets;
    while (true) {
      at_ = SkipSpace(at_);
      if (at_ >= s_.size()) {
        return Error(open, mark == '%' ? "tag without its end %}" : "output without its end }}");
      }
      if (brackets.empty()) {
        const bool plus = s_[at_] == '+' && mark == '}';  // "+}}" ends no tag
        const size_t after = plus ? kNone : AfterEnd(at_, mark, /*trim_newline=*/mark == '%');
        if (after != kNone) {
          Push(mark == '%' ? TokenKind::kBlockEnd : TokenKind::kOutputEnd, "", at_);
          at_ = after;
          return absl::OkStatus();
        }
      }
      RETURN_IF_ERROR(LexToken(&brackets));
    }
  }

  absl::Status LexToken(std::string* brackets) {
    const char c = s_[at_];
    if (IsDigit(c)) return LexNumber();
    if (IsNameStart(c)) {
      const size_t begin = at_;
      while (at_ < s_.size() && IsNameChar(s_[at_])) ++at_;
      Push(TokenKind::kName, s_.substr(begin, at_ - begin), begin);
      return absl::OkStatus();
    }
    if (c == '\'' || c == '"') return LexString(c);
    return LexOperator(brackets);
  }

  size_t SkipDigits(size_t at) const {
    while (at < s_.size() &&
           (IsDigit(s_[at]) || (s_[at] == '_' && at + 1 < s_.size() && IsDigit(s_[at + 1])))) {
      ++at;
    }
    return at;
  }

  absl::Status LexNumber() {
    const size_t begin = at_;
    const char base = begin + 1 < s_.size() ? static_cast<char>(s_[begin + 1] | 32) : '\0';
    if (s_[begin] == '0' && (base == 'x' || base == 'o' || base == 'b')) return LexBased(base);
    at_ = SkipDigits(begin);
    bool is_float = false;
    const bool after_dot = begin > 0 && s_[begin - 1] == '.';  // foo.0.1 is two subscripts
    if (!after_dot && at_ + 1 < s_.size() && s_[at_] == '.' && IsDigit(s_[at_ + 1])) {
      at_ = SkipDigits(at_ + 1);
      is_float = true;
    }
    if (!after_dot && at_ < s_.size() && (s_[at_] | 32) == 'e') {
      size_t exponent = at_ + 1;
      if (exponent < s_.size() && (s_[exponent] == '+' || s_[exponent] == '-')) ++exponent;
      if (exponent < s_.size() && IsDigit(s_[exponent])) {
        at_ = SkipDigits(exponent);
        is_float = true;
      }
    }
    std::string digits = s_.substr(begin, at_ - begin);
    digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
    Push(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(digits), begin);
    return absl::OkStatus();
  }

  absl::Status LexBased(char base) {
    const size_t begin = at_;
    at_ += 2;
    std::string digits;
    while (at_ < s_.size() &&
           (std::isxdigit(static_cast<unsigned char>(s_[at_])) || s_[at_] == '_')) {
      if (s_[at_] != '_') digits.push_back(s_[at_]);
      ++at_;
    }
    int64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        base == 'x' ? 16 : (base == 'o' ? 8 : 2));
    if (result.ec != std::errc() || result.ptr != digits.data() + digits.size()) {
      return Error(begin, "not a number");
    }
    Push(TokenKind::kInteger, std::to_string(value), begin);
    return absl::OkStatus();
  }

  absl::Status LexString(char quote) {
    const size_t begin = at_++;
    std::string value;
    while (at_ < s_.size() && s_[at_] != quote) {
      if (s_[at_] == '\\') {
        RETURN_IF_ERROR(LexEscape(&value));
      } else {
        value.push_back(s_[at_++]);
      }
    }
    if (at_ >= s_.size()) return Error(begin, "string without its end");
    ++at_;
    Push(TokenKind::kString, std::move(value), begin);
    return absl::OkStatus();
  }

  // Python's unicode-escape.
  absl::Status LexEscape(std::string* value) {
    const size_t begin = at_++;
    if (at_ >= s_.size()) return Error(begin, "string without its end");
    const char c = s_[at_++];
    static constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t i = kFrom.find(c); i != kNone) {
      value->push_back(kTo[i]);
      return absl::OkStatus();
    }
    if (c == '\n') return absl::OkStatus();
    const size_t hex_digits = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
    uint32_t code_point = 0;
    if (hex_digits > 0) {
      const char* first = s_.data() + at_;
      const char* last = s_.data() + std::min(at_ + hex_digits, s_.size());
      const auto result = std::from_chars(first, last, code_point, 16);
      if (result.ec != std::errc() || result.ptr != first + hex_digits || code_point > 0x10FFFF ||
          (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        return Error(begin, "escape that is not a character");
      }
      at_ += hex_digits;
      AppendUtf8(code_point, value);
      return absl::OkStatus();
    }
    if (c >= '0' && c <= '7') {
      code_point = static_cast<uint32_t>(c - '0');
      for (int i = 0; i < 2 && at_ < s_.size() && s_[at_] >= '0' && s_[at_] <= '7'; ++i) {
        code_point = code_point * 8 + static_cast<uint32_t>(s_[at_++] - '0');
      }
      AppendUtf8(code_point, value);
      return absl::OkStatus();
    }
    value->push_back('\\');
    value->push_back(c);
    return absl::OkStatus();
  }

  absl::Status LexOperator(std::string* brackets) {
    static constexpr std::string_view kTwo[] = {"==", "!=", ">=", "<=", "//", "**"};
    static constexpr std::string_view kOne = "+-/*%~[](){}<>=.:|,;";
    for (const std::string_view two : kTwo) {
      if (StartsWith(at_, two)) {
        Push(TokenKind::kOperator, std::string(two), at_);
        at_ += 2;
        return absl::OkStatus();
      }
    }
    const char c = s_[at_];
    if (kOne.find(c) == kNone) {
      return Error(at_, absl::StrCat("unexpected character '", std::string(1, c), "'"));
    }
    if (c == '(' || c == '[' || c == '{') {
      brackets->push_back(c == '(' ? ')' : (c == '[' ? ']' : '}'));
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets->empty() || brackets->back() != c) {
        return Error(at_, absl::StrCat("unexpected '", std::string(1, c), "'"));
      }
      brackets->pop_back();
    }
    Push(TokenKind::kOperator, std::string(1, c), at_);
    ++at_;
    return absl::OkStatus();
  }

  const std::string s_;
  size_t at_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
  size_t counted_ = 0, line_begin_ = 0;
  uint32_t line_ = 1;
};

}  // namespace

absl::Status TemplateError(Position position, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("template line ", position.line, ", column ",
                                                 position.column, ": ",
                                                 absl::string_view(what.data(), what.size())));
}

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  if (const size_t bad = FindInvalidUtf8(source); bad != kNone) {
    return absl::InvalidArgumentError(absl::StrCat("template is not UTF-8 at byte ", bad));
  }
  return Lexer(NormalizeNewlines(source)).Run();
}

}  // namespace trainerd::engine::jinja
