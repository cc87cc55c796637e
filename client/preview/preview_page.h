// SPDX-License-Identifier: Apache-2.0
// `trainctl preview --html` apart from the conversations: the path of the page, and the description
// of the job in its header.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/preview/preview_html.h"
#include "client/view/environment.h"
#include "proto/contract/job_file/job_file.h"

namespace trainerd::client {

struct PreviewOptions {
  std::string file;
  std::vector<std::string> sets;
  // Examples, or packed sequences.
  int limit = 3;
  bool packed = false;
  bool json = false;
  // Write a page to this path instead of printing text.
  std::optional<std::string> html;
};

// The absolute path of `path`, as the user wrote it, with symbolic links resolved.
std::string PagePath(const std::string& path, const Environment& env);

// Errors: InvalidArgument if no page can be written to `path`: it is empty, a folder, a device or a
// pipe, or its folder does not exist.
absl::Status CheckPagePath(const std::string& path);

// The page for `items`, which come from `num_shown` lines of trainerd-inspect, with the resolved
// settings of the job.
PreviewPage DescribePage(const JobFile& job, const PreviewOptions& options, size_t num_shown,
                         std::vector<PreviewItem> items);

}  // namespace trainerd::client
