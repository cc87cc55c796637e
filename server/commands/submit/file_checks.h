// SPDX-License-Identifier: Apache-2.0
// The paths of a job's configuration, checked before the job is stored. Nothing is opened that
// could block.
#pragma once

#include <string>
#include <vector>

#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/upload_path.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {

// An upload in place of a path.
struct NamedUpload {
  std::string field;
  UploadPath upload;
};

// Adds a violation for each path that the job cannot use: a model or an adapter that is no folder,
// a file that is no regular file, an output that cannot be created (output_path.h). Fields that
// already have a violation are skipped. Returns the uploads, of which only the form was checked.
std::vector<NamedUpload> CheckFiles(const v1::JobConfig& config, const std::string& job,
                                    std::vector<ConfigViolation>* violations);

}  // namespace trainerd::server
