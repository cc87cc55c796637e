// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/run_state.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/hash.h"
#include "proto/base/hex.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/json_output.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFormat = 1;

// Reads fields of an untrusted object and keeps the first error.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  const Json* Get(const char* key) {
    if (!object_.is_object() || !object_.contains(key)) return Fail(key, "is missing");
    return &object_[key];
  }
  void Read(const char* key, int64_t* value) {
    const Json* field = Get(key);
    if (field == nullptr) return;
    if (!field->is_number_integer()) return void(Fail(key, "is not an integer"));
    *value = field->get<int64_t>();
  }
  void Read(const char* key, double* value) {
    const Json* field = Get(key);
    if (field == nullptr) return;
    if (!field->is_number()) return void(Fail(key, "is not a number"));
    *value = field->get<double>();
  }
  void Read(const char* key, std::string* value) {
    const Json* field = Get(key);
    if (field == nullptr) return;
    if (!field->is_string()) return void(Fail(key, "is not text"));
    *value = field->get<std::string>();
  }
  void ReadHex(const char* key, std::string* bytes) {
    std::string hex;
    Read(key, &hex);
    std::optional<std::string> read = FromHex(hex);
    if (!read.has_value()) return void(Fail(key, "is not hexadecimal"));
    *bytes = *std::move(read);
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json* Fail(const char* key, const char* what) {
    if (status_.ok()) {
      status_ = absl::DataLossError(absl::StrCat(kStateName, ": ", where_, key, " ", what));
    }
    return nullptr;
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

Json EnvironmentToJson(const RunEnvironment& environment) {
  Json json{{"engine_version", environment.engine_version},
            {"build", environment.build},
            {"torch_version", environment.torch_version},
            {"cpu", environment.cpu},
            {"device", environment.device},
            {"threads", environment.threads}};
  const GpuEnvironment& gpu = environment.gpu;
  if (!gpu.model.empty()) {
    json["gpu"] = {{"model", gpu.model}, {"driver", gpu.driver}, {"libraries", gpu.libraries}};
  }
  return json;
}

absl::Status ParseEnvironment(const Json& json, RunEnvironment* environment) {
  FieldReader reader(json, "environment.");
  reader.Read("engine_version", &environment->engine_version);
  reader.Read("build", &environment->build);
  reader.Read("torch_version", &environment->torch_version);
  reader.Read("cpu", &environment->cpu);
  reader.Read("device", &environment->device);
  reader.Read("threads", &environment->threads);
  RETURN_IF_ERROR(reader.status());
  if (!json.contains("gpu")) return absl::OkStatus();
  FieldReader gpu(json["gpu"], "environment.gpu.");
  gpu.Read("model", &environment->gpu.model);
  gpu.Read("driver", &environment->gpu.driver);
  gpu.Read("libraries", &environment->gpu.libraries);
  return gpu.status();
}

Json PlateauToJson(const PlateauState& plateau) {
  Json json{{"block_sum", plateau.block_sum}, {"block_count", plateau.block_count}};
  if (plateau.block_before.has_value()) json["block_before"] = *plateau.block_before;
  if (plateau.level.has_value()) json["level"] = *plateau.level;
  if (plateau.deviation.has_value()) json["deviation"] = *plateau.deviation;
  return json;
}

Json MonitorToJson(const MonitorState& monitor) {
  Json losses = Json::array();
  for (const double loss : monitor.losses) losses.push_back(loss);
  Json alerts = Json::array();
  for (const std::string& type : monitor.active_alerts) alerts.push_back(type);
  Json json{{"losses", losses}, {"active_alerts", alerts}};
  if (monitor.spike_reference.has_value()) json["spike_reference"] = *monitor.spike_reference;
  json["start_losses"] = monitor.start_losses;
  if (monitor.best_validation.has_value()) {
    json["best_validation"] = {{"loss", monitor.best_validation->loss},
                               {"step", monitor.best_validation->step}};
  }
  json["plateau"] = PlateauToJson(monitor.plateau);
  json["cleared_steps"] = monitor.cleared_steps;
  return json;
}

absl::Status ParsePlateau(const Json& json, PlateauState* plateau) {
  FieldReader reader(json, "monitor.plateau.");
  reader.Read("block_sum", &plateau->block_sum);
  reader.Read("block_count", &plateau->block_count);
  for (const auto& [key, value] :
       {std::pair{"block_before", &plateau->block_before}, std::pair{"level", &plateau->level},
        std::pair{"deviation", &plateau->deviation}}) {
    if (json.contains(key)) reader.Read(key, &value->emplace());
  }
  return reader.status();
}

absl::Status ParseMonitor(const Json& json, MonitorState* monitor) {
  FieldReader reader(json, "monitor.");
  const Json* losses = reader.Get("losses");
  const Json* alerts = reader.Get("active_alerts");
  RETURN_IF_ERROR(reader.status());
  for (const Json& loss : *losses) {
    if (loss.is_number()) monitor->losses.push_back(loss.get<double>());
  }
  for (const Json& type : *alerts) {
    if (type.is_string()) monitor->active_alerts.push_back(type.get<std::string>());
  }
  if (json.contains("spike_reference")) {
    reader.Read("spike_reference", &monitor->spike_reference.emplace());
  }
  // Absent in checkpoints of earlier versions.
  if (json.contains("start_losses")) {
    for (const Json& loss : json["start_losses"]) {
      if (loss.is_number()) monitor->start_losses.push_back(loss.get<double>());
    }
  }
  if (json.contains("best_validation")) {
    FieldReader best(json["best_validation"], "monitor.best_validation.");
    best.Read("loss", &monitor->best_validation.emplace().loss);
    best.Read("step", &monitor->best_validation->step);
    RETURN_IF_ERROR(best.status());
  }
  if (json.contains("plateau")) RETURN_IF_ERROR(ParsePlateau(json["plateau"], &monitor->plateau));
  if (json.contains("cleared_steps")) {
    for (const auto& [type, step] : json["cleared_steps"].items()) {
      if (step.is_number_integer()) monitor->cleared_steps[type] = step.get<int64_t>();
    }
  }
  return reader.status();
}

absl::Status ParseConfig(const Json& json, v1::ResolvedJobConfig* config) {
  FieldReader reader(json, "");
  const Json* message = reader.Get("config");
  const Json* given = reader.Get("given");
  reader.ReadHex("config_digest", config->mutable_config_digest());
  RETURN_IF_ERROR(reader.status());
  RETURN_IF_ERROR(
      Annotate(JsonToMessage(message->dump(), config->mutable_config()), kStateName, ": config"));
  if (!given->is_array()) {
    return absl::DataLossError(absl::StrCat(kStateName, ": given is not a list"));
  }
  for (const Json& path : *given) {
    if (path.is_string()) config->add_given(path.get<std::string>());
  }
  return absl::OkStatus();
}

}  // namespace

std::string RunStateToJson(const RunState& state) {
  Json given = Json::array();
  for (const std::string& path : state.config.given()) given.push_back(path);
  Json json{
      {"format", kFormat},
      {"step", state.step},
      {"total_steps", state.total_steps},
      {"epoch", state.epoch},
      {"tokens", state.tokens},
      {"target_tokens", state.target_tokens},
      {"data_cursor", {{"epoch", state.next.epoch}, {"first_row", state.next.first_row}}},
      {"evaluated_step", state.evaluated_step},
      {"sampled_step", state.sampled_step},
      {"monitor", MonitorToJson(state.monitor)},
      {"data_fingerprint", ToHex(state.data_fingerprint)},
      {"environment", EnvironmentToJson(state.environment)},
      {"config_digest", ToHex(state.config.config_digest())},
      {"given", given},
      {"config", Json::parse(MessageToJsonLine(state.config.config()), nullptr,
                             /*allow_exceptions=*/false)},
  };
  if (!state.model_fingerprint.empty()) json["model_fingerprint"] = ToHex(state.model_fingerprint);
  return json.dump(1) + "\n";
}

absl::StatusOr<RunState> ParseRunState(const std::string& json) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) {
    return absl::DataLossError(absl::StrCat(kStateName, " is not JSON"));
  }
  RunState state;
  FieldReader reader(root, "");
  int64_t format = 0;
  reader.Read("format", &format);
  RETURN_IF_ERROR(reader.status());
  if (format > kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(kStateName, " has format ", format, ", this trainerd-worker reads up to ",
                     kFormat, ": continue with the version that wrote it, or a newer one"));
  }
  reader.Read("step", &state.step);
  reader.Read("total_steps", &state.total_steps);
  reader.Read("epoch", &state.epoch);
  reader.Read("tokens", &state.tokens);
  reader.Read("target_tokens", &state.target_tokens);
  reader.Read("evaluated_step", &state.evaluated_step);
  reader.Read("sampled_step", &state.sampled_step);
  reader.ReadHex("data_fingerprint", &state.data_fingerprint);
  if (root.contains("model_fingerprint"))
    reader.ReadHex("model_fingerprint", &state.model_fingerprint);
  const Json* cursor = reader.Get("data_cursor");
  const Json* environment = reader.Get("environment");
  const Json* monitor = reader.Get("monitor");
  RETURN_IF_ERROR(reader.status());
  FieldReader cursor_reader(*cursor, "data_cursor.");
  cursor_reader.Read("epoch", &state.next.epoch);
  cursor_reader.Read("first_row", &state.next.first_row);
  RETURN_IF_ERROR(cursor_reader.status());
  RETURN_IF_ERROR(ParseEnvironment(*environment, &state.environment));
  RETURN_IF_ERROR(ParseMonitor(*monitor, &state.monitor));
  RETURN_IF_ERROR(ParseConfig(root, &state.config));
  if (state.step < 1) {
    return absl::DataLossError(absl::StrCat(kStateName, ": step ", state.step, " is below 1"));
  }
  return state;
}

}  // namespace trainerd::engine
