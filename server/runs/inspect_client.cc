// SPDX-License-Identifier: Apache-2.0
#include "server/runs/inspect_client.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::server {
namespace {

// Exit code of trainerd-inspect for a report with error findings, or for a message instead of a
// report (usage, configuration, data). 0 is a report without error findings.
constexpr int kInvalid = 2;
constexpr size_t kErrorTailBytes = 4000;

std::string Message(const ProcessResult& child) {
  std::string text(absl::StripAsciiWhitespace(child.err));
  if (text.size() > kErrorTailBytes) text.erase(0, text.size() - kErrorTailBytes);
  return ToValidUtf8(text);
}

}  // namespace

absl::StatusOr<v1::DataReport> RunValidate(const std::string& inspect_path,
                                           const std::string& runs_dir,
                                           const std::string& config_yaml, absl::Duration timeout,
                                           const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(const ProcessResult child,
                   RunProcess({.argv = {inspect_path, "validate", "--job", kChildInputPath,
                                        "--quick", "--runs-dir", runs_dir},
                               .timeout = timeout,
                               .input = config_yaml,
                               .is_cancelled = is_cancelled}));
  const bool answered = child.exit.code == 0 || child.exit.code == kInvalid;
  v1::DataReport report;
  if (answered && !child.out.empty() && JsonToMessage(child.out, &report).ok()) return report;
  if (child.exit.code == kInvalid) return absl::InvalidArgumentError(Message(child));
  return absl::InternalError(absl::StrCat(inspect_path, " ended with ", child.exit.ToString(),
                                          " and no report: ", Message(child)));
}

}  // namespace trainerd::server
