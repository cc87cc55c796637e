// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/optimizer_file.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// A tensor of the file: its name, its contents in memory, and the parameter that it belongs to.
struct Entry {
  std::string name;
  at::Tensor tensor;
  std::vector<int64_t> shape;
};

// In the order of the file: one kind of state after the other, then the masters.
std::vector<Entry> EntriesOf(const ParameterSet& parameters, Optimizer& optimizer) {
  std::vector<Entry> entries;
  const auto add = [&](const Parameter& parameter, const std::string& kind, at::Tensor tensor) {
    entries.push_back({absl::StrCat(parameter.name, ".", kind), std::move(tensor),
                       parameter.value.sizes().vec()});
  };
  for (const OptimizerState& state : optimizer.State()) {
    for (size_t i = 0; i < state.tensors.size(); ++i) {
      if (state.tensors[i].defined()) add(parameters.parameters()[i], state.name, state.tensors[i]);
    }
  }
  for (const Parameter& parameter : parameters.parameters()) {
    if (NeedsMaster(parameter)) add(parameter, kMasterState, parameter.master);
  }
  return entries;
}

absl::Status ReadEntry(const SafetensorsFile& file, const Entry& entry) {
  const TensorInfo* info = file.Find(entry.name);
  if (info == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        file.path(), " has no tensor ", entry.name,
        ": the checkpoint is from a job with another optimizer or other frozen parameters; start "
        "from its weights alone with init_from.state: weights"));
  }
  if (info->dtype != StoredDtype::kFloat32 || info->shape != entry.shape) {
    return absl::DataLossError(absl::StrCat(file.path(), ": tensor ", entry.name, " has shape ",
                                            ShapeText(info->shape), ", expected fp32 ",
                                            ShapeText(entry.shape)));
  }
  const std::string_view bytes = file.Bytes(*info);
  // The mapping is read-only; from_blob requires a mutable pointer, and copy_ only reads it.
  const at::Tensor stored =
      at::from_blob(const_cast<char*>(bytes.data()), {entry.tensor.numel()}, at::kFloat);
  entry.tensor.view({-1}).copy_(stored);
  file.Release(*info);
  return absl::OkStatus();
}

}  // namespace

bool NeedsMaster(const Parameter& parameter) {
  return parameter.trains() && NeedsMaster(StoredDtypeOf(parameter.source_dtype));
}

int64_t EstimateModelBytes(const ParameterSet& parameters) {
  int64_t bytes = 0;
  for (const Parameter& parameter : parameters.parameters()) {
    bytes +=
        parameter.value.numel() * static_cast<int64_t>(c10::elementSize(parameter.source_dtype));
  }
  return bytes;
}

int64_t EstimateOptimizerBytes(const ParameterSet& parameters, Optimizer& optimizer) {
  int64_t bytes = 0;
  for (const Entry& entry : EntriesOf(parameters, optimizer))
    bytes += static_cast<int64_t>(entry.tensor.nbytes());
  return bytes;
}

absl::StatusOr<ManifestFile> WriteOptimizerFile(const std::string& folder,
                                                const ParameterSet& parameters,
                                                Optimizer& optimizer) {
  const std::vector<Entry> entries = EntriesOf(parameters, optimizer);
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Entry& entry : entries)
    declared.push_back({.name = entry.name, .dtype = StoredDtype::kFloat32, .shape = entry.shape});
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SafetensorsWriter> writer,
      SafetensorsWriter::Create(absl::StrCat(folder, "/", kOptimizerName), std::move(declared)));
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    for (const Entry& entry : entries) {
      const at::Tensor host = entry.tensor.cpu().contiguous();
      RETURN_IF_ERROR(writer->Append(host.const_data_ptr(), host.nbytes()));
    }
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(const SafetensorsWriter::Result result, writer->Finish());
  return ManifestFile{result.size_bytes, ToHex(result.xxh3)};
}

absl::Status ReadOptimizerFile(const std::string& folder, ParameterSet& parameters,
                               Optimizer& optimizer) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(absl::StrCat(folder, "/", kOptimizerName)));
  return CatchTorch([&]() -> absl::Status {
    for (const Entry& entry : EntriesOf(parameters, optimizer))
      RETURN_IF_ERROR(ReadEntry(*file, entry));
    parameters.PublishCompute();
    return absl::OkStatus();
  });
}

absl::StatusOr<int64_t> CountDroppedMasters(const std::string& folder,
                                            const ParameterSet& parameters) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(absl::StrCat(folder, "/", kOptimizerName)));
  int64_t dropped = 0;
  for (const Parameter& parameter : parameters.parameters()) {
    if (!parameter.trains() &&
        file->Find(absl::StrCat(parameter.name, ".", kMasterState)) != nullptr)
      ++dropped;
  }
  return dropped;
}

}  // namespace trainerd::engine
