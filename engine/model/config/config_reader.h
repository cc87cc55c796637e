// SPDX-License-Identifier: Apache-2.0
// Typed access to the keys of config.json. No LibTorch.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace trainerd::engine {

// Reads values of one JSON object. A key counts as absent if its value is null. The first error is
// kept in the status; a read that fails returns a harmless value, so callers check the status once.
class ConfigReader {
 public:
  // `where` names the object in messages. `object` and `status` must outlive the reader; readers of
  // nested objects share the status.
  ConfigReader(const nlohmann::json& object, std::string where, absl::Status& status);

  bool Has(const char* key) const;
  // Whether the key is there, be it with the value null. transformers applies a default only to a
  // key that is not there.
  bool Contains(const char* key) const;
  // Without a fallback the key is required. Range: 1 to `limit`.
  int64_t PositiveInt(const char* key, std::optional<int64_t> fallback = std::nullopt,
                      int64_t limit = int64_t{1} << 31);
  int64_t NonNegativeInt(const char* key, int64_t fallback);
  double NonNegativeNumber(const char* key, double fallback);
  double PositiveNumber(const char* key, std::optional<double> fallback = std::nullopt);
  bool Bool(const char* key, bool fallback);
  std::string Text(const char* key, const std::string& fallback);
  // All elements of the list; the key must be present. Errors: fewer than `min_size` elements, or
  // one of another type.
  std::vector<int64_t> IntList(const char* key, int64_t min_size);
  // The numbers are positive.
  std::vector<double> NumberList(const char* key, int64_t min_size);
  std::vector<std::string> TextList(const char* key, int64_t min_size);
  // A reader of the object `key`; of an empty object if the key is absent.
  ConfigReader Object(const char* key);

  // Keep InvalidArgument `where: "key" what`, or Unimplemented `where: what`.
  void Invalid(const char* key, const std::string& what);
  void Unsupported(const std::string& what);
  const absl::Status& status() const { return status_; }

 private:
  // nullptr, and an error, unless `key` is a list of at least `min_size` elements.
  const nlohmann::json* List(const char* key, int64_t min_size);
  void Keep(absl::Status status);

  const nlohmann::json& object_;
  std::string where_;
  absl::Status& status_;
};

}  // namespace trainerd::engine
