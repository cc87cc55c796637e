// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/optimizer_file.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/platform/torch_status.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

std::vector<int64_t> ShapeOf(const Parameter& parameter) { return parameter.master.sizes().vec(); }

// The part of a flat buffer that belongs to one parameter.
at::Tensor Slice(const at::Tensor& flat, const Parameter& parameter) {
  return flat.narrow(0, parameter.offset, parameter.master.numel());
}

// One kind of state: its suffix, and where it lies for each parameter that has it.
struct Section {
  const char* suffix;
  bool (*applies)(const Parameter&);
  std::function<at::Tensor(const Parameter&)> tensor;
};

std::vector<Section> Sections(AdamW& optimizer) {
  const auto always = [](const Parameter&) { return true; };
  return {
      {".exp_avg", always, [&](const Parameter& p) { return Slice(optimizer.exp_avg(), p); }},
      {".exp_avg_sq", always, [&](const Parameter& p) { return Slice(optimizer.exp_avg_sq(), p); }},
      {".master", NeedsMaster, [](const Parameter& p) { return p.master; }},
  };
}

absl::Status ReadTensor(const SafetensorsFile& file, const std::string& name,
                        const Parameter& parameter, at::Tensor target) {
  const TensorInfo* info = file.Find(name);
  if (info == nullptr) {
    return absl::DataLossError(absl::StrCat(file.path(), " has no tensor ", name));
  }
  if (info->dtype != StoredDtype::kFloat32 || info->shape != ShapeOf(parameter)) {
    return absl::DataLossError(absl::StrCat(file.path(), ": tensor ", name, " has shape ",
                                            ShapeText(info->shape), ", expected fp32 ",
                                            ShapeText(ShapeOf(parameter))));
  }
  const std::string_view bytes = file.Bytes(*info);
  // The mapping is read-only; from_blob wants a mutable pointer and copy_ only reads it.
  const at::Tensor stored =
      at::from_blob(const_cast<char*>(bytes.data()), {parameter.master.numel()}, at::kFloat);
  target.view({-1}).copy_(stored);
  file.Release(*info);
  return absl::OkStatus();
}

}  // namespace

bool NeedsMaster(const Parameter& parameter) {
  return parameter.source_dtype == at::kBFloat16 || parameter.source_dtype == at::kHalf;
}

int64_t EstimateCheckpointBytes(const ParameterSet& parameters) {
  int64_t bytes = 0;
  for (const Parameter& parameter : parameters.parameters()) {
    const int64_t element = static_cast<int64_t>(c10::elementSize(parameter.source_dtype)) + 8 +
                            (NeedsMaster(parameter) ? 4 : 0);
    bytes += parameter.master.numel() * element;
  }
  return bytes;
}

absl::StatusOr<ManifestFile> WriteOptimizerFile(const std::string& folder,
                                                const ParameterSet& parameters, AdamW& optimizer) {
  const std::vector<Section> sections = Sections(optimizer);
  std::vector<SafetensorsWriter::Declared> declared;
  for (const Section& section : sections) {
    for (const Parameter& parameter : parameters.parameters()) {
      if (!section.applies(parameter)) continue;
      declared.push_back({.name = absl::StrCat(parameter.name, section.suffix),
                          .dtype = StoredDtype::kFloat32,
                          .shape = ShapeOf(parameter)});
    }
  }
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SafetensorsWriter> writer,
      SafetensorsWriter::Create(absl::StrCat(folder, "/", kOptimizerName), std::move(declared)));
  RETURN_IF_ERROR(CatchTorch([&]() -> absl::Status {
    for (const Section& section : sections) {
      for (const Parameter& parameter : parameters.parameters()) {
        if (!section.applies(parameter)) continue;
        const at::Tensor host = section.tensor(parameter).cpu().contiguous();
        RETURN_IF_ERROR(writer->Append(host.const_data_ptr(), host.nbytes()));
      }
    }
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(const SafetensorsWriter::Result result, writer->Finish());
  return ManifestFile{result.size_bytes, ToHex(result.xxh3)};
}

absl::Status ReadOptimizerFile(const std::string& folder, ParameterSet& parameters,
                               AdamW& optimizer) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(absl::StrCat(folder, "/", kOptimizerName)));
  const std::vector<Section> sections = Sections(optimizer);
  return CatchTorch([&]() -> absl::Status {
    for (const Section& section : sections) {
      for (const Parameter& parameter : parameters.parameters()) {
        if (!section.applies(parameter)) continue;
        RETURN_IF_ERROR(ReadTensor(*file, absl::StrCat(parameter.name, section.suffix), parameter,
                                   section.tensor(parameter)));
      }
    }
    parameters.PublishCompute();
    return absl::OkStatus();
  });
}

}  // namespace trainerd::engine
