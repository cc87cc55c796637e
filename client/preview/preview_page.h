// SPDX-License-Identifier: Apache-2.0
// What `trainctl preview --html` writes besides the conversations: where the page goes, and what
// its head says of the job.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/commands/commands.h"
#include "client/job_file.h"
#include "client/preview/preview_html.h"
#include "client/view/environment.h"

namespace trainerd::client {

// The absolute path of the file that `path`, as the user wrote it, names; through symbolic links.
std::string PagePath(const std::string& path, const Environment& env);

// Errors: InvalidArgument where no page can be written: no name, a folder, a device or pipe (which
// would be replaced by a file), or no folder to write it to.
absl::Status CheckPagePath(const std::string& path);

// The page for `items`, made of `num_shown` lines of trainerd-inspect: settings with the defaults
// filled in, and which part of the data is shown.
PreviewPage DescribePage(const JobFile& job, const PreviewOptions& options, size_t num_shown,
                         std::vector<PreviewItem> items);

}  // namespace trainerd::client
