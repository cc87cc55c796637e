// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/inspect/job_file.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/job_config_rules.h"
#include "proto/contract/config/yaml_to_proto.h"

namespace trainerd::engine {

absl::StatusOr<v1::JobConfig> ReadJobFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string yaml, ReadFile(path));
  v1::JobConfig config;
  const YamlResult read = YamlToMessage(yaml, &config);
  if (!read.violations.empty()) return ViolationsToStatus(read.violations, path);
  std::error_code error;
  const std::filesystem::path file = std::filesystem::absolute(path, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  MakePathsAbsolute(file.parent_path().string(), &config);

  std::vector<ConfigViolation> violations;
  const ResolveOptions options{.now = absl::Now(), .default_name = file.stem().string()};
  v1::ResolvedJobConfig resolved = ResolveJobConfig(config, options, &violations);
  for (ConfigViolation& violation : violations) {
    const auto line = read.lines.find(violation.path);
    if (violation.line == 0 && line != read.lines.end()) violation.line = line->second;
  }
  if (!violations.empty()) return ViolationsToStatus(violations, path);
  return std::move(*resolved.mutable_config());
}

}  // namespace trainerd::engine
