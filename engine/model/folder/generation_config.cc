// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/generation_config.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kEosKey[] = "eos_token_id";

void AddId(const Json& value, std::vector<int32_t>* ids) {
  if (!value.is_number_integer()) return;
  const int64_t id = value.get<int64_t>();
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) return;
  if (std::find(ids->begin(), ids->end(), id) == ids->end())
    ids->push_back(static_cast<int32_t>(id));
}

std::vector<int32_t> EosIds(const Json& object) {
  std::vector<int32_t> ids;
  if (!object.is_object() || !object.contains(kEosKey)) return ids;
  const Json& value = object[kEosKey];
  AddId(value, &ids);
  if (!value.is_array()) return ids;
  for (const Json& id : value) AddId(id, &ids);
  return ids;
}

absl::StatusOr<Json> ReadObject(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, ": the file is not a JSON object"));
  return json;
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

std::vector<int32_t> EosIdsOf(const std::string& folder) {
  std::vector<int32_t> ids;
  for (const char* name : {"generation_config.json", "config.json"}) {
    const absl::StatusOr<Json> json = ReadObject(absl::StrCat(folder, "/", name));
    if (!json.ok()) continue;
    for (const int32_t id : EosIds(*json)) {
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
  }
  return ids;
}

absl::StatusOr<std::string> GenerationConfigWith(const std::string& folder, int32_t id) {
  absl::StatusOr<Json> generation = ReadObject(folder + "/generation_config.json");
  const bool is_new = absl::IsNotFound(generation.status());
  if (is_new) {
    ASSIGN_OR_RETURN(const Json config, ReadObject(folder + "/config.json"));
    generation = FromModelConfig(config);
  }
  RETURN_IF_ERROR(generation.status());
  std::vector<int32_t> ids = EosIds(*generation);
  const bool is_listed = std::find(ids.begin(), ids.end(), id) != ids.end();
  if (is_listed && !is_new) return std::string();
  if (!is_listed) ids.push_back(id);
  if (ids.size() == 1) {
    (*generation)[kEosKey] = ids.front();
  } else {
    (*generation)[kEosKey] = ids;
  }
  return generation->dump(2) + "\n";
}

}  // namespace trainerd::engine
