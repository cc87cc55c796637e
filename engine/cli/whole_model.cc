// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/whole_model.h"

#include <c10/core/Device.h>

#include "absl/strings/str_cat.h"
#include "engine/model/adapter_loader.h"
#include "engine/model/folder/hf_folder.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/found_checkpoint.h"

namespace trainerd::engine {

absl::StatusOr<WholeModel> OpenWholeModel(const std::string& folder) {
  WholeModel model{.folder = folder};
  if (HoldsAdapter(folder)) {
    ASSIGN_OR_RETURN(model.adapter, AdapterFolder::Open(folder));
    model.folder = model.adapter->config().base_model;
    if (!IsFolder(model.folder)) {
      return absl::NotFoundError(
          absl::StrCat(folder, " is an adapter of \"", model.folder,
                       "\", which is no folder here; set base_model_name_or_path in its ",
                       kAdapterConfigName, " to the folder of that model"));
    }
  }
  ASSIGN_OR_RETURN(model.config, ReadModelConfig(model.folder));
  return model;
}

absl::StatusOr<std::unique_ptr<ParameterSet>> LoadParameters(WholeModel& model) {
  ASSIGN_OR_RETURN(const std::unique_ptr<HfFolder> weights,
                   HfFolder::Open(model.folder, model.config.names));
  weights->MatchHead(HeadCheck::kAll, model.config);
  RETURN_IF_ERROR(weights->CheckComplete(model.config));
  AdapterSpec spec;
  if (model.adapter != nullptr) {
    ASSIGN_OR_RETURN(spec, model.adapter->Resolve(model.config, /*dropout=*/0.0));
    RETURN_IF_ERROR(model.adapter->CheckModelCopies(*weights));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<ParameterSet> parameters,
                   ParameterSet::Create(model.config, Precision::kFp32, c10::Device(c10::kCPU),
                                        /*frozen=*/{}, model.adapter == nullptr ? nullptr : &spec));
  RETURN_IF_ERROR(parameters->Load(*weights));
  if (model.adapter != nullptr) RETURN_IF_ERROR(LoadAdapter(*model.adapter, *parameters));
  return parameters;
}

}  // namespace trainerd::engine
