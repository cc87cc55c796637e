// SPDX-License-Identifier: Apache-2.0
#include "server/runs/devices.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/json_output.h"

namespace trainerd::server {
namespace {

constexpr size_t kErrorTailBytes = 2000;

std::string Tail(const std::string& text) {
  return text.size() <= kErrorTailBytes ? text : text.substr(text.size() - kErrorTailBytes);
}

}  // namespace

absl::StatusOr<std::vector<v1::Device>> QueryDevices(const std::string& worker_path,
                                                     absl::Duration timeout,
                                                     const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(const ProcessResult child, RunProcess({.argv = {worker_path, "devices"},
                                                          .timeout = timeout,
                                                          .is_cancelled = is_cancelled}));
  if (child.exit.code != 0) {
    return absl::InternalError(absl::StrCat(worker_path, " devices ended with ",
                                            child.exit.ToString(), ": ", Tail(child.err)));
  }
  // The device objects are v1.Device in its JSON form; a ServerInfo has the list under the same
  // name.
  v1::ServerInfo info;
  RETURN_IF_ERROR(Annotate(JsonToMessage(child.out, &info), "output of ", worker_path, " devices"));
  return std::vector<v1::Device>(info.devices().begin(), info.devices().end());
}

}  // namespace trainerd::server
