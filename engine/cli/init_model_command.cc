// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_model_command.h"

#include <c10/core/Device.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "engine/model/config/model_config.h"
#include "engine/model/model_writer.h"
#include "engine/model/parameters.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizerFiles[] = {"tokenizer.json",      "tokenizer_config.json",
                                           "chat_template.jinja", "special_tokens_map.json",
                                           "added_tokens.json",   "vocab.json",
                                           "merges.txt",          "generation_config.json"};

absl::Status CopyTokenizer(const std::string& from, const std::string& to) {
  for (const char* name : kTokenizerFiles) {
    const fs::path source = fs::path(from) / name;
    std::error_code error;
    if (!fs::exists(source, error)) continue;
    fs::copy_file(source, fs::path(to) / name, fs::copy_options::overwrite_existing, error);
    if (error) return ErrnoStatus(error.value(), absl::StrCat("copy ", source.string()));
  }
  return absl::OkStatus();
}

// config.json with the dtype of the weights that are written, in the spelling that the file uses.
absl::StatusOr<std::string> WithDtype(const std::string& json, const std::string& dtype) {
  ASSIGN_OR_RETURN(nlohmann::ordered_json config, ParseJsonWithSpelling(json));
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype;
  return WriteJsonWithSpelling(config) + "\n";
}

absl::Status MakeOutput(const std::string& folder) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(folder, " exists and is not empty; choose another --output"));
  }
  fs::create_directories(folder, error);
  return error ? ErrnoStatus(error.value(), absl::StrCat("create folder ", folder))
               : absl::OkStatus();
}

}  // namespace

absl::Status InitModel(const InitModelOptions& options) {
  ASSIGN_OR_RETURN(const std::string json, ReadStream(options.config_path));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json, options.config_path));
  const bool bf16 = options.dtype == "bf16";
  if (!bf16 && options.dtype != "fp32") {
    return absl::InvalidArgumentError(
        absl::StrCat("--dtype ", options.dtype, " is not known; use fp32 or bf16"));
  }
  if (config.names.vision != nullptr) {
    return absl::UnimplementedError(absl::StrCat(options.config_path,
                                                 ": init-model initializes no vision part, because "
                                                 "no job trains it and it would stay random; use "
                                                 "the config.json of a text model"));
  }
  RETURN_IF_ERROR(MakeOutput(options.output));
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters,
                   ParameterSet::Create(config, Precision::kFp32, c10::Device(c10::kCPU)));
  RETURN_IF_ERROR(parameters->InitRandom(options.seed));
  const WriteWeightsOptions write{.dtype = bf16 ? WriteWeightsOptions::Dtype::kBFloat16
                                                : WriteWeightsOptions::Dtype::kFloat32};
  RETURN_IF_ERROR(WriteModelWeights(options.output, *parameters, write).status());
  const std::string parent = fs::path(options.config_path).parent_path().string();
  RETURN_IF_ERROR(
      CopyTokenizer(options.tokenizer.empty() ? (parent.empty() ? "." : parent) : options.tokenizer,
                    options.output));
  ASSIGN_OR_RETURN(const std::string written, WithDtype(json, bf16 ? "bfloat16" : "float32"));
  return WriteFileAtomic(absl::StrCat(options.output, "/config.json"), written, 0644);
}

int RunInitModelCommand(const InitModelOptions& options) {
  const absl::Status status = InitModel(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "trainerd-worker: %s\n", std::string(status.message()).c_str());
  return 2;
}

}  // namespace trainerd::engine
