// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config/generation_config.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kEosKey[] = "eos_token_id";

absl::StatusOr<Json> ReadObject(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return AsJsonObject(ParseJsonWithSpelling(text), path);
}

// "eos_token_id": a number, a list of numbers, or nothing. Negative ids stand for none.
absl::StatusOr<std::vector<int32_t>> EosIds(const Json& object, const std::string& path) {
  std::vector<int32_t> ids;
  if (!object.contains(kEosKey) || object[kEosKey].is_null()) return ids;
  const Json& value = object[kEosKey];
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": \"", kEosKey, "\" has the value ",
                                                     ShownJson(id), "; it must be a token id"));
    }
    const int64_t number = id.get<int64_t>();
    if (number < 0 || number > std::numeric_limits<int32_t>::max()) continue;
    if (std::find(ids.begin(), ids.end(), number) == ids.end())
      ids.push_back(static_cast<int32_t>(number));
  }
  return ids;
}

// The generation settings that transformers derives where there is no generation_config.json.
Json FromModelConfig(const Json& config) {
  Json generation = Json::object();
  for (const char* key : {"bos_token_id", kEosKey, "pad_token_id"}) {
    if (config.contains(key) && !config[key].is_null()) generation[key] = config[key];
  }
  return generation;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> EosIdsOf(const std::string& folder) {
  std::vector<int32_t> ids;
  for (const char* name : {"generation_config.json", "config.json"}) {
    const std::string path = absl::StrCat(folder, "/", name);
    const absl::StatusOr<Json> json = ReadObject(path);
    if (absl::IsNotFound(json.status())) continue;
    RETURN_IF_ERROR(json.status());
    ASSIGN_OR_RETURN(const std::vector<int32_t> found, EosIds(*json, path));
    for (const int32_t id : found) {
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
  }
  return ids;
}

absl::StatusOr<std::string> GenerationConfigWith(const std::string& folder, int32_t id) {
  std::string path = folder + "/generation_config.json";
  absl::StatusOr<Json> generation = ReadObject(path);
  const bool is_new = absl::IsNotFound(generation.status());
  if (is_new) {
    path = folder + "/config.json";
    ASSIGN_OR_RETURN(const Json config, ReadObject(path));
    generation = FromModelConfig(config);
  }
  RETURN_IF_ERROR(generation.status());
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, EosIds(*generation, path));
  const bool is_listed = std::find(ids.begin(), ids.end(), id) != ids.end();
  if (is_listed && !is_new) return std::string();
  if (!is_listed) ids.push_back(id);
  if (ids.size() == 1) {
    (*generation)[kEosKey] = ids.front();
  } else {
    (*generation)[kEosKey] = ids;
  }
  return WriteJsonWithSpelling(*generation) + "\n";
}

}  // namespace trainerd::engine
