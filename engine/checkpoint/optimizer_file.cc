// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/optimizer_file.h"

#include <ATen/ops/from_blob.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/stored_dtype.h"
#include "engine/platform/torch_status.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// A tensor of the file: its name and its contents in memory, in the dtype and shape of the file.
struct Entry {
  std::string name;
  at::Tensor tensor;
  bool is_master = false;

  StoredDtype dtype() const { return StoredDtypeOf(tensor.scalar_type()); }
  std::vector<int64_t> shape() const { return tensor.sizes().vec(); }
};

// In the order of the file: one kind of state after the other, then the masters.
std::vector<Entry> EntriesOf(const ParameterSet& parameters, Optimizer& optimizer) {
  std::vector<Entry> entries;
  const auto add = [&](const Parameter& parameter, const std::string& kind, at::Tensor tensor) {
    entries.push_back(
        {absl::StrCat(parameter.name, ".", kind), std::move(tensor), kind == kMasterName});
  };
  for (const OptimizerState& state : optimizer.State()) {
    for (size_t i = 0; i < state.tensors.size(); ++i) {
      if (state.tensors[i].defined()) add(parameters.parameters()[i], state.name, state.tensors[i]);
    }
  }
  for (const Parameter& parameter : parameters.parameters()) {
    if (parameter.trains() && NeedsMaster(StoredDtypeOf(parameter.source_dtype)))
      add(parameter, kMasterName, parameter.master);
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
  // A checkpoint of a job with another train.precision: its masters are rounded, or exact in fp32.
  const bool converts = entry.is_master && (info->dtype == StoredDtype::kFloat32 ||
                                            info->dtype == StoredDtype::kBFloat16);
  if ((info->dtype != entry.dtype() && !converts) || info->shape != entry.shape()) {
    return absl::DataLossError(absl::StrCat(
        file.path(), ": tensor ", entry.name, " is ", std::string(DtypeName(info->dtype)), " ",
        ShapeText(info->shape), ", expected ", std::string(DtypeName(entry.dtype())), " ",
        ShapeText(entry.shape())));
  }
  const std::string_view bytes = file.Bytes(*info);
  // The mapping is read-only; from_blob requires a mutable pointer, and copy_ only reads it.
  const at::Tensor stored = at::from_blob(const_cast<char*>(bytes.data()), entry.tensor.sizes(),
                                          at::TensorOptions().dtype(ScalarTypeOf(info->dtype)));
  entry.tensor.copy_(stored);
  file.Release(*info);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ManifestFile> WriteOptimizerFile(const std::string& folder,
                                                const ParameterSet& parameters,
                                                Optimizer& optimizer) {
  const std::vector<Entry> entries = EntriesOf(parameters, optimizer);
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Entry& entry : entries)
    declared.push_back({.name = entry.name, .dtype = entry.dtype(), .shape = entry.shape()});
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
        file->Find(absl::StrCat(parameter.name, ".", kMasterName)) != nullptr)
      ++dropped;
  }
  return dropped;
}

}  // namespace trainerd::engine
