// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config/config_reader.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"

namespace trainerd::engine {

using Json = nlohmann::json;

ConfigReader::ConfigReader(const Json& object, std::string where, absl::Status& status)
    : object_(object), where_(std::move(where)), status_(status) {}

bool ConfigReader::Has(const char* key) const {
  return object_.contains(key) && !object_[key].is_null();
}

bool ConfigReader::Contains(const char* key) const { return object_.contains(key); }

int64_t ConfigReader::PositiveInt(const char* key, std::optional<int64_t> fallback, int64_t limit) {
  if (!Has(key)) {
    if (!fallback) Invalid(key, "is missing");
    return fallback.value_or(1);
  }
  const Json& value = object_[key];
  if (!value.is_number_integer() || value.get<double>() < 1 ||
      value.get<double>() > static_cast<double>(limit)) {
    Invalid(key,
            absl::StrCat("is ", ShownJson(value), "; it must be an integer from 1 to ", limit));
    return 1;
  }
  return value.get<int64_t>();
}

int64_t ConfigReader::NonNegativeInt(const char* key, int64_t fallback) {
  if (!Has(key)) return fallback;
  const Json& value = object_[key];
  if (!value.is_number_unsigned()) {
    Invalid(key, absl::StrCat("is ", ShownJson(value), "; it must be an integer from 0"));
    return fallback;
  }
  return value.get<int64_t>();
}

double ConfigReader::NonNegativeNumber(const char* key, double fallback) {
  const bool is_zero = Has(key) && object_[key].is_number() && object_[key].get<double>() == 0;
  return is_zero ? 0.0 : PositiveNumber(key, fallback);
}

double ConfigReader::PositiveNumber(const char* key, std::optional<double> fallback) {
  if (!Has(key)) {
    if (!fallback) Invalid(key, "is missing");
    return fallback.value_or(1.0);
  }
  const Json& value = object_[key];
  if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>())) {
    Invalid(key, absl::StrCat("is ", ShownJson(value), "; it must be a number above 0"));
    return 1.0;
  }
  return value.get<double>();
}

bool ConfigReader::Bool(const char* key, bool fallback) {
  if (!Has(key)) return fallback;
  if (!object_[key].is_boolean()) {
    Invalid(key, absl::StrCat("is ", ShownJson(object_[key]), "; it must be true or false"));
    return fallback;
  }
  return object_[key].get<bool>();
}

std::string ConfigReader::Text(const char* key, const std::string& fallback) {
  if (!Has(key)) return fallback;
  if (!object_[key].is_string()) {
    Invalid(key, absl::StrCat("is ", ShownJson(object_[key]), "; it must be a string"));
    return fallback;
  }
  return object_[key].get<std::string>();
}

const Json* ConfigReader::List(const char* key, int64_t min_size) {
  if (!Has(key)) {
    Invalid(key, "is missing");
    return nullptr;
  }
  const Json& list = object_[key];
  if (!list.is_array() || static_cast<int64_t>(list.size()) < min_size) {
    Invalid(key, absl::StrCat("must be a list of at least ", min_size, " values"));
    return nullptr;
  }
  return &list;
}

std::vector<int64_t> ConfigReader::IntList(const char* key, int64_t min_size) {
  const Json* list = List(key, min_size);
  std::vector<int64_t> values(list == nullptr ? static_cast<size_t>(min_size) : list->size(), 0);
  for (size_t i = 0; list != nullptr && i < values.size(); ++i) {
    if (!(*list)[i].is_number_integer()) {
      Invalid(key,
              absl::StrCat("has the value ", ShownJson((*list)[i]), "; it must be an integer"));
      break;
    }
    values[i] = (*list)[i].get<int64_t>();
  }
  return values;
}

std::vector<double> ConfigReader::NumberList(const char* key, int64_t min_size) {
  const Json* list = List(key, min_size);
  std::vector<double> values(list == nullptr ? static_cast<size_t>(min_size) : list->size(), 1.0);
  for (size_t i = 0; list != nullptr && i < values.size(); ++i) {
    if (!(*list)[i].is_number() || !((*list)[i].get<double>() > 0.0)) {
      Invalid(key, absl::StrCat("has the value ", ShownJson((*list)[i]),
                                "; it must be a positive number"));
      break;
    }
    values[i] = (*list)[i].get<double>();
  }
  return values;
}

std::vector<std::string> ConfigReader::TextList(const char* key, int64_t min_size) {
  const Json* list = List(key, min_size);
  std::vector<std::string> values(list == nullptr ? static_cast<size_t>(min_size) : list->size());
  for (size_t i = 0; list != nullptr && i < values.size(); ++i) {
    if (!(*list)[i].is_string()) {
      Invalid(key, absl::StrCat("has the value ", ShownJson((*list)[i]), "; it must be a string"));
      break;
    }
    values[i] = (*list)[i].get<std::string>();
  }
  return values;
}

ConfigReader ConfigReader::Object(const char* key) {
  static const Json empty = Json::object();
  const bool is_object = Has(key) && object_[key].is_object();
  if (Has(key) && !is_object) Invalid(key, "must be an object");
  return ConfigReader(is_object ? object_[key] : empty, absl::StrCat(where_, ": ", key), status_);
}

void ConfigReader::Invalid(const char* key, const std::string& what) {
  Keep(absl::InvalidArgumentError(absl::StrCat(where_, ": \"", key, "\" ", what)));
}

void ConfigReader::Unsupported(const std::string& what) {
  Keep(absl::UnimplementedError(absl::StrCat(where_, ": ", what)));
}

void ConfigReader::Keep(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace trainerd::engine
