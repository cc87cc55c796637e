// SPDX-License-Identifier: Apache-2.0
// Metadata of GGUF files: typed values, of which texts and lists are views into the file. No
// LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd::engine {

// The numbers of the format.
enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Bytes of one number or bool; 0 for a text and a list.
int64_t SizeOf(GgufValueType type);

// A list. One of the three members holds its elements, by their type.
struct GgufArray {
  GgufValueType type = GgufValueType::kUint8;
  int64_t count = 0;
  // Numbers and bools, little-endian.
  std::string_view bytes;
  std::vector<std::string_view> texts;
  std::vector<GgufArray> arrays;
};

// Unsigned and signed integers, floating-point numbers, bools, texts, lists.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

// The number or bool of that type at `bytes`, which holds SizeOf(type) bytes.
GgufValue GgufNumber(GgufValueType type, const char* bytes);

// Typed access. Every error names the key: NotFound for a key that is missing, InvalidArgument for
// a value of another type or out of range.
class GgufMetadata {
 public:
  // Errors: AlreadyExists.
  absl::Status Add(std::string_view key, GgufValue value);

  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }
  bool Has(std::string_view key) const { return values_.contains(key); }
  // An integer of any type, 0 to 2^48.
  absl::StatusOr<int64_t> Count(std::string_view key) const;
  absl::StatusOr<double> Number(std::string_view key) const;
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<std::string> Text(std::string_view key) const;
  absl::StatusOr<std::vector<std::string_view>> Texts(std::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> Integers(std::string_view key) const;
  absl::StatusOr<std::vector<double>> Numbers(std::string_view key) const;
  // nullopt, or false, for a key that is missing.
  absl::StatusOr<std::optional<int64_t>> OptionalCount(std::string_view key) const;
  absl::StatusOr<std::optional<std::string>> OptionalText(std::string_view key) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool fallback) const;

 private:
  absl::StatusOr<const GgufValue*> Find(std::string_view key) const;

  std::map<std::string, GgufValue, std::less<>> values_;
};

}  // namespace trainerd::engine
