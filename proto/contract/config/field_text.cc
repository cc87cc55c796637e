// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/field_text.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/protobuf/util/time_util.h"
#include "proto/base/format.h"
#include "proto/base/hex.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/enum_words.h"
#include "trainerd/v1/knob.pb.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Largest Duration of protobuf: 10,000 years.
constexpr double kMaxDurationSeconds = 315576000000.0;
// Above it a double no longer holds every whole number.
constexpr double kMaxExactDouble = 9007199254740992.0;

bool IsDuration(const FieldDescriptor& field) {
  return field.message_type() != nullptr &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

bool IsBytes(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::knob).unit() == "bytes";
}

absl::Status Wrong(const std::string& text, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " is not ", expected));
}

// Decimal numbers only: no hexadecimal, no "inf", no "nan".
bool ParseDecimal(const std::string& text, double* value) {
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  if (text.find_first_of("0123456789") == std::string::npos) return false;
  return absl::SimpleAtod(text, value) && std::isfinite(*value);
}

template <typename Int>
absl::Status ParseWhole(const std::string& text, Int* value) {
  if (absl::SimpleAtoi(text, value)) return absl::OkStatus();
  double number = 0;
  if (!ParseDecimal(text, &number) || number != std::floor(number))
    return Wrong(text, "a whole number");
  const bool fits = std::fabs(number) <= kMaxExactDouble &&
                    number >= static_cast<double>(std::numeric_limits<Int>::min()) &&
                    number <= static_cast<double>(std::numeric_limits<Int>::max());
  if (!fits)
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text), " does not fit a whole number of ", sizeof(Int) * 8, " bits"));
  *value = static_cast<Int>(number);
  return absl::OkStatus();
}

// A number of bytes: also with a decimal (200GB) or binary unit (1.5TiB).
absl::Status ParseBytes(const std::string& text, int64_t* value) {
  constexpr double kMaxBytes = 9.2e18;
  const struct {
    absl::string_view name;
    double bytes;
  } units[] = {{"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
               {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  for (const auto& unit : units) {
    absl::string_view number_text = text;
    if (!absl::ConsumeSuffix(&number_text, unit.name)) continue;
    double number = 0;
    if (!ParseDecimal(std::string(absl::StripTrailingAsciiWhitespace(number_text)), &number)) break;
    const double bytes = std::round(number * unit.bytes);
    if (std::fabs(bytes) > kMaxBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(text), " does not fit a whole number of 64 bits"));
    }
    *value = static_cast<int64_t>(bytes);
    return absl::OkStatus();
  }
  if (ParseWhole(text, value).ok()) return absl::OkStatus();
  return Wrong(text, "a number of bytes; write for example 1000000, 200GB or 1.5TiB");
}

absl::Status ParseDuration(const std::string& text, google::protobuf::Duration* duration) {
  absl::Duration value;
  if (!absl::ParseDuration(text, &value) ||
      std::fabs(absl::ToDoubleSeconds(value)) > kMaxDurationSeconds) {
    return Wrong(text, "a duration; write for example 300s, 5m or 2h");
  }
  // Nearest nanosecond: absl counts quarters of one.
  value = absl::Floor(value + absl::Nanoseconds(1) / 2, absl::Nanoseconds(1));
  *duration = ToProto(value);
  return absl::OkStatus();
}

absl::Status ParseTimestamp(const std::string& text, google::protobuf::Timestamp* timestamp) {
  if (google::protobuf::util::TimeUtil::FromString(text, timestamp)) return absl::OkStatus();
  return Wrong(text, "a time; write for example 2026-01-31T12:00:00Z");
}

std::string FractionText(int32_t nanos) {
  if (nanos == 0) return "";
  std::string digits = absl::StrCat(".", absl::Dec(nanos, absl::kZeroPad9));
  while (digits.back() == '0') digits.pop_back();
  return digits;
}

std::string DurationText(const google::protobuf::Duration& duration) {
  const bool negative = duration.seconds() < 0 || duration.nanos() < 0;
  return absl::StrCat(negative ? "-" : "", std::abs(duration.seconds()),
                      FractionText(std::abs(duration.nanos())), "s");
}

template <typename Real>
std::string RealText(Real value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  return FormatShortest(value);
}

absl::Status SetMessageScalar(const FieldDescriptor& field, const std::string& text,
                              Message* message) {
  // Parsed aside, so that an error leaves the field as it was.
  google::protobuf::Duration duration;
  google::protobuf::Timestamp timestamp;
  const bool is_duration = IsDuration(field);
  RETURN_IF_ERROR(is_duration ? ParseDuration(text, &duration) : ParseTimestamp(text, &timestamp));
  const Reflection& reflection = *message->GetReflection();
  Message* target = field.is_repeated() ? reflection.AddMessage(message, &field)
                                        : reflection.MutableMessage(message, &field);
  if (is_duration) {
    target->CopyFrom(duration);
  } else {
    target->CopyFrom(timestamp);
  }
  return absl::OkStatus();
}

absl::Status SetString(const FieldDescriptor& field, std::string text, Message* message) {
  if (field.type() == FieldDescriptor::TYPE_BYTES) {
    std::optional<std::string> bytes = FromHex(text);
    if (!bytes.has_value()) return Wrong(text, "an even number of hexadecimal digits");
    text = *std::move(bytes);
  } else if (FindInvalidUtf8(text) != std::string::npos) {
    return absl::InvalidArgumentError("the text is not valid UTF-8; save the file as UTF-8");
  }
  const Reflection& reflection = *message->GetReflection();
  if (field.is_repeated()) {
    reflection.AddString(message, &field, std::move(text));
  } else {
    reflection.SetString(message, &field, std::move(text));
  }
  return absl::OkStatus();
}

absl::Status SetEnum(const FieldDescriptor& field, const std::string& text, Message* message) {
  const auto* value = FindEnumText(*field.enum_type(), text);
  if (value == nullptr) return absl::InvalidArgumentError(NoSuchEnumText(*field.enum_type(), text));
  const Reflection& reflection = *message->GetReflection();
  if (field.is_repeated()) {
    reflection.AddEnum(message, &field, value);
  } else {
    reflection.SetEnum(message, &field, value);
  }
  return absl::OkStatus();
}

// Parses with `parse` and stores with the Set or Add of one number type.
#define TRAINERD_SET_NUMBER(type, Name, parse)      \
  {                                                 \
    type value{};                                   \
    RETURN_IF_ERROR(parse(text, &value));           \
    if (field.is_repeated()) {                      \
      reflection.Add##Name(message, &field, value); \
    } else {                                        \
      reflection.Set##Name(message, &field, value); \
    }                                               \
    return absl::OkStatus();                        \
  }

absl::Status ParseReal(const std::string& text, double* value) {
  return ParseDecimal(text, value) ? absl::OkStatus() : Wrong(text, "a finite number");
}

absl::Status ParseFloat(const std::string& text, float* value) {
  double wide = 0;
  RETURN_IF_ERROR(ParseReal(text, &wide));
  *value = static_cast<float>(wide);
  return std::isfinite(*value) ? absl::OkStatus() : Wrong(text, "a number of 32 bits");
}

absl::Status ParseBool(const std::string& text, bool* value) {
  *value = text == "true";
  return text == "true" || text == "false" ? absl::OkStatus() : Wrong(text, "true or false");
}

}  // namespace

bool IsTimestampField(const FieldDescriptor& field) {
  return field.message_type() != nullptr &&
         field.message_type()->full_name() == "google.protobuf.Timestamp";
}

bool IsScalarField(const FieldDescriptor& field) {
  return field.message_type() == nullptr || IsDuration(field) || IsTimestampField(field);
}

absl::Status SetScalar(const FieldDescriptor& field, const std::string& text, TextStyle style,
                       Message* message) {
  const Reflection& reflection = *message->GetReflection();
  const bool wants_text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
                          field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM ||
                          field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (style == TextStyle::kQuoted && !wants_text) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text), " is text, not ", KindOfField(field), "; leave the quotes out"));
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      TRAINERD_SET_NUMBER(int32_t, Int32, ParseWhole)
    case FieldDescriptor::CPPTYPE_INT64:
      if (IsBytes(field)) TRAINERD_SET_NUMBER(int64_t, Int64, ParseBytes)
      TRAINERD_SET_NUMBER(int64_t, Int64, ParseWhole)
    case FieldDescriptor::CPPTYPE_UINT32:
      TRAINERD_SET_NUMBER(uint32_t, UInt32, ParseWhole)
    case FieldDescriptor::CPPTYPE_UINT64:
      TRAINERD_SET_NUMBER(uint64_t, UInt64, ParseWhole)
    case FieldDescriptor::CPPTYPE_DOUBLE:
      TRAINERD_SET_NUMBER(double, Double, ParseReal)
    case FieldDescriptor::CPPTYPE_FLOAT:
      TRAINERD_SET_NUMBER(float, Float, ParseFloat)
    case FieldDescriptor::CPPTYPE_BOOL:
      TRAINERD_SET_NUMBER(bool, Bool, ParseBool)
    case FieldDescriptor::CPPTYPE_ENUM:
      return SetEnum(field, text, message);
    case FieldDescriptor::CPPTYPE_STRING:
      return SetString(field, text, message);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SetMessageScalar(field, text, message);
  }
  return absl::InternalError(
      absl::StrCat(std::string(field.full_name()), " has a type that is not known here"));
}

absl::Status SetFromDefault(const FieldDescriptor& field, const std::string& text,
                            Message* message) {
  if (!field.is_repeated()) return SetScalar(field, text, TextStyle::kPlain, message);
  absl::string_view inner = text;
  if (!absl::ConsumePrefix(&inner, "[") || !absl::ConsumeSuffix(&inner, "]"))
    return Wrong(text, "a list [a, b]");
  for (const absl::string_view element : absl::StrSplit(inner, ',', absl::SkipWhitespace())) {
    RETURN_IF_ERROR(SetScalar(field, std::string(absl::StripAsciiWhitespace(element)),
                              TextStyle::kPlain, message));
  }
  return absl::OkStatus();
}

std::string ScalarText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool repeated = field.is_repeated();
#define TRAINERD_GET(Name)                                         \
  (repeated ? reflection.GetRepeated##Name(message, &field, index) \
            : reflection.Get##Name(message, &field))
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(TRAINERD_GET(Int32));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(TRAINERD_GET(Int64));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(TRAINERD_GET(UInt32));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(TRAINERD_GET(UInt64));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return RealText(TRAINERD_GET(Double));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return RealText(TRAINERD_GET(Float));
    case FieldDescriptor::CPPTYPE_BOOL:
      return TRAINERD_GET(Bool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(*field.enum_type(), TRAINERD_GET(EnumValue));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = TRAINERD_GET(String);
      return field.type() == FieldDescriptor::TYPE_BYTES ? absl::BytesToHexString(text) : text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& value = TRAINERD_GET(Message);
      if (IsDuration(field))
        return DurationText(static_cast<const google::protobuf::Duration&>(value));
      if (IsTimestampField(field))
        return google::protobuf::util::TimeUtil::ToString(
            static_cast<const google::protobuf::Timestamp&>(value));
      return "";
    }
  }
  return "";
}

std::string KindOfField(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
    case FieldDescriptor::CPPTYPE_STRING:
      return "text";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (IsDuration(field)) return "a duration (300s, 5m, 2h)";
      return IsTimestampField(field) ? "a time" : "a group of keys";
  }
  return "a value";
}

bool IsNumericField(const FieldDescriptor& field) {
  const auto type = field.cpp_type();
  return IsDuration(field) ||
         (type != FieldDescriptor::CPPTYPE_STRING && type != FieldDescriptor::CPPTYPE_BOOL &&
          type != FieldDescriptor::CPPTYPE_ENUM && type != FieldDescriptor::CPPTYPE_MESSAGE);
}

double NumericValue(const Message& message, const FieldDescriptor& field, int index) {
  if (IsDuration(field)) {
    const Reflection& reflection = *message.GetReflection();
    const bool repeated = field.is_repeated();
    const auto& value = static_cast<const google::protobuf::Duration&>(TRAINERD_GET(Message));
    return static_cast<double>(value.seconds()) + value.nanos() * 1e-9;
  }
  double value = std::numeric_limits<double>::quiet_NaN();
  const std::string text = ScalarText(message, field, index);
  if (text == ".inf" || text == "-.inf") return text[0] == '-' ? -HUGE_VAL : HUGE_VAL;
  return ParseDecimal(text, &value) ? value : std::numeric_limits<double>::quiet_NaN();
}

bool IsAllDigits(absl::string_view text, size_t max_digits) {
  return !text.empty() && text.size() <= max_digits &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c); });
}

}  // namespace trainerd
