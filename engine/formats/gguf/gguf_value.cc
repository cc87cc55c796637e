// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/gguf/gguf_value.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 48;

template <typename T>
T Load(const char* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

absl::Status WrongType(std::string_view key, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("the metadata key ", std::string(key), " is not ", std::string(expected)));
}

std::optional<int64_t> AsInteger(const GgufValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value);
      number != nullptr && *number <= uint64_t{kMaxCount})
    return static_cast<int64_t>(*number);
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  return std::nullopt;
}

// The elements of a list of numbers, each as `convert` reads it; false if it reads one not.
template <typename T, typename Convert>
bool ReadNumbers(const GgufValue& value, const Convert& convert, std::vector<T>* numbers) {
  const auto* list = std::get_if<GgufArray>(&value);
  if (list == nullptr || SizeOf(list->type) == 0) return false;
  numbers->reserve(static_cast<size_t>(list->count));
  for (int64_t i = 0; i < list->count; ++i) {
    const std::optional<T> number =
        convert(GgufNumber(list->type, list->bytes.data() + i * SizeOf(list->type)));
    if (!number) return false;
    numbers->push_back(*number);
  }
  return true;
}

std::optional<double> AsDouble(const GgufValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  return std::nullopt;
}

}  // namespace

int64_t SizeOf(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      return 0;
  }
  return 0;
}

GgufValue GgufNumber(GgufValueType type, const char* bytes) {
  switch (type) {
    case GgufValueType::kUint8:
      return uint64_t{Load<uint8_t>(bytes)};
    case GgufValueType::kInt8:
      return int64_t{Load<int8_t>(bytes)};
    case GgufValueType::kUint16:
      return uint64_t{Load<uint16_t>(bytes)};
    case GgufValueType::kInt16:
      return int64_t{Load<int16_t>(bytes)};
    case GgufValueType::kUint32:
      return uint64_t{Load<uint32_t>(bytes)};
    case GgufValueType::kInt32:
      return int64_t{Load<int32_t>(bytes)};
    case GgufValueType::kUint64:
      return Load<uint64_t>(bytes);
    case GgufValueType::kInt64:
      return Load<int64_t>(bytes);
    case GgufValueType::kFloat32:
      return double{Load<float>(bytes)};
    case GgufValueType::kFloat64:
      return Load<double>(bytes);
    case GgufValueType::kBool:
      return Load<uint8_t>(bytes) != 0;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      break;
  }
  TRAINERD_CHECK(false);
}

absl::Status GgufMetadata::Add(std::string_view key, GgufValue value) {
  if (values_.emplace(key, std::move(value)).second) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("the metadata key ", std::string(key), " is there twice"));
}

absl::StatusOr<const GgufValue*> GgufMetadata::Find(std::string_view key) const {
  const auto found = values_.find(key);
  if (found != values_.end()) return &found->second;
  return absl::NotFoundError(absl::StrCat("the metadata key ", std::string(key), " is missing"));
}

absl::StatusOr<int64_t> GgufMetadata::Count(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  const std::optional<int64_t> count = AsInteger(*value);
  if (!count || *count < 0 || *count > kMaxCount) return WrongType(key, "a count");
  return *count;
}

absl::StatusOr<double> GgufMetadata::Number(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  const auto* number = std::get_if<double>(value);
  if (number == nullptr) return WrongType(key, "a floating-point number");
  return *number;
}

absl::StatusOr<bool> GgufMetadata::Bool(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  const auto* flag = std::get_if<bool>(value);
  if (flag == nullptr) return WrongType(key, "a bool");
  return *flag;
}

absl::StatusOr<std::string> GgufMetadata::Text(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  const auto* text = std::get_if<std::string_view>(value);
  if (text == nullptr) return WrongType(key, "a text");
  return std::string(*text);
}

absl::StatusOr<std::vector<std::string_view>> GgufMetadata::Texts(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  const auto* list = std::get_if<GgufArray>(value);
  if (list == nullptr || list->type != GgufValueType::kString)
    return WrongType(key, "a list of texts");
  return list->texts;
}

absl::StatusOr<std::vector<int64_t>> GgufMetadata::Integers(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  std::vector<int64_t> numbers;
  if (!ReadNumbers(*value, AsInteger, &numbers)) return WrongType(key, "a list of integers");
  return numbers;
}

absl::StatusOr<std::vector<double>> GgufMetadata::Numbers(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  std::vector<double> numbers;
  if (!ReadNumbers(*value, AsDouble, &numbers))
    return WrongType(key, "a list of floating-point numbers");
  return numbers;
}

absl::StatusOr<std::optional<int64_t>> GgufMetadata::OptionalCount(std::string_view key) const {
  if (!Has(key)) return std::nullopt;
  return Count(key);
}

absl::StatusOr<std::optional<std::string>> GgufMetadata::OptionalText(std::string_view key) const {
  if (!Has(key)) return std::nullopt;
  return Text(key);
}

absl::StatusOr<bool> GgufMetadata::BoolOr(std::string_view key, bool fallback) const {
  return Has(key) ? Bool(key) : fallback;
}

}  // namespace trainerd::engine
