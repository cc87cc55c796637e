// SPDX-License-Identifier: Apache-2.0
#include "client/preview/preview_page.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::client {
namespace {

namespace fs = std::filesystem;

std::string Sources(const v1::DataConfig& data) {
  std::string lines;
  for (const v1::DataSource& source : data.train()) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n", source.path());
    if (source.weight() != 1) absl::StrAppend(&lines, " (weight ", source.weight(), ")");
  }
  return lines;
}

std::string Extent(const PreviewOptions& options, size_t num_shown) {
  const char* what = options.packed ? "row" : "example";
  const char* order = options.packed ? " in the order of the first epoch" : " in file order";
  // Fewer than the limit: there are no more.
  const bool all = num_shown < static_cast<size_t>(options.limit);
  if (num_shown == 1) return absl::StrCat(all ? "the only " : "the first ", what, order);
  return absl::StrCat(all ? "all " : "the first ", FormatCount(static_cast<int64_t>(num_shown)),
                      " ", what, "s", order);
}

}  // namespace

std::string PagePath(const std::string& path, const Environment& env) {
  if (path.empty()) return "";
  fs::path absolute(path);
  if (absolute.is_relative()) absolute = fs::path(env.working_dir) / absolute;
  std::error_code error;
  const fs::path target = fs::canonical(absolute, error);
  return (error ? absolute.lexically_normal() : target).string();
}

absl::Status CheckPagePath(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("--html needs the name of a file");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--html ", path, " is a folder; name a file in it"));
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--html ", path,
                     " is not a regular file, and the page would replace it; name another file"));
  }
  const std::string folder = fs::path(path).parent_path().string();
  if (!fs::is_directory(folder, error)) {
    return absl::InvalidArgumentError(absl::StrCat("--html ", path, ": there is no folder ", folder,
                                                   "; create it, or name another file"));
  }
  return absl::OkStatus();
}

PreviewPage DescribePage(const JobFile& job, const PreviewOptions& options, size_t num_shown,
                         std::vector<PreviewItem> items) {
  const v1::JobConfig& config = job.resolved.config();
  const v1::DataConfig& data = config.data();
  PreviewPage page{.job_file = job.path,
                   .extent = Extent(options, num_shown),
                   .settings = {{"model and tokenizer", config.model().path()},
                                {"data.train", Sources(data)},
                                config.has_preference()
                                    ? std::pair<std::string, std::string>(
                                          "preference.loss", EnumText(config.preference().loss()))
                                    : std::pair<std::string, std::string>(
                                          "data.train_on", EnumText(data.train_on())),
                                {"data.chat_template", data.chat_template()},
                                {"data.packing", EnumText(data.packing())},
                                {"data.max_length", absl::StrCat(data.max_length(), " tokens")},
                                {"data.too_long", EnumText(data.too_long())},
                                {"data.control_tokens", EnumText(data.control_tokens())},
                                {"data.profile", EnumText(data.profile())}},
                   .items = std::move(items)};
  // Without packing, a sequence is one conversation and has nothing to fill.
  if (PacksDocuments(data.packing())) page.max_length = PackedTokens(config);
  if (!data.system_prompt().empty())
    page.settings.emplace_back("data.system_prompt", data.system_prompt());
  for (const std::string& set : options.sets) page.settings.emplace_back("--set", set);
  return page;
}

}  // namespace trainerd::client
