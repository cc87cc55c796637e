// SPDX-License-Identifier: Apache-2.0
#include "client/preview/inspect.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd::client {
namespace {

constexpr size_t kMaxOutputBytes = size_t{1} << 30;

}  // namespace

absl::StatusOr<ProcessResult> RunInspect(const Environment& env, std::vector<std::string> arguments,
                                         const std::string& input) {
  arguments.insert(arguments.begin(), env.inspect_path);
  absl::StatusOr<ProcessResult> result = RunProcess({.argv = std::move(arguments),
                                                     .timeout = absl::InfiniteDuration(),
                                                     .max_output_bytes = kMaxOutputBytes,
                                                     .input = input,
                                                     .group = ProcessGroup::kInherit});
  if (absl::IsNotFound(result.status())) {
    return absl::NotFoundError(
        absl::StrCat("trainerd-inspect is not at ", env.inspect_path,
                     "; install it beside trainctl, or set TRAINERD_INSPECT to its path"));
  }
  if (absl::IsResourceExhausted(result.status())) {
    return absl::ResourceExhaustedError(
        absl::StrCat(result.status().message(), "; request less with --limit"));
  }
  return result;
}

InspectJob JobForInspect(const JobFile& job, bool changed) {
  if (!changed) return {.path = job.absolute_path};
  return {.path = kChildInputPath, .input = MessageToYaml(job.config)};
}

absl::Status FailedInspect(const ProcessResult& result, const std::string& advice) {
  absl::string_view text = absl::StripTrailingAsciiWhitespace(result.err);
  // The reader called trainctl.
  absl::ConsumePrefix(&text, "trainerd-inspect: ");
  std::string why(text);
  if (why.empty()) why = absl::StrCat("trainerd-inspect ended with ", result.exit.ToString());
  absl::StrAppend(&why, advice);
  return result.exit.code == kUsage ? absl::InvalidArgumentError(why) : absl::InternalError(why);
}

}  // namespace trainerd::client
