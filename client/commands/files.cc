// SPDX-License-Identifier: Apache-2.0
// trainctl files, files rm: the daemon's store of uploads.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_set.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/upload_path.h"

namespace trainerd::client {
namespace {

constexpr int kPageSize = 500;
// Of the SHA-256 in a table; enough to name a file.
constexpr size_t kShownDigits = 12;

absl::StatusOr<v1::ListFilesResponse> ListAll(Connection& connection) {
  v1::ListFilesRequest request;
  request.set_page_size(kPageSize);
  return ReadAllPages<v1::ListFilesResponse>(connection, request);
}

std::string Digits(const v1::File& file) { return ParseUploadName(file.name()).value_or(""); }

std::string SizeText(const v1::File& file) {
  if (file.received_bytes() == file.size_bytes()) return FormatBytes(file.size_bytes());
  return absl::StrCat(FormatBytes(file.received_bytes()), " of ", FormatBytes(file.size_bytes()));
}

void PrintTable(const v1::ListFilesResponse& all, const Context& context) {
  const bool wide = context.form == OutputForm::kWide;
  Table table({"FILE", "NAME", "SIZE", "OWNER", "AGE", "LAST USE"});
  for (const v1::File& file : all.files()) {
    const std::string digits = Digits(file);
    table.AddRow({wide ? file.name() : digits.substr(0, kShownDigits),
                  PlainText(file.display_name()), SizeText(file), PlainText(file.owner()),
                  FormatAge(file.create_time(), absl::Now()),
                  file.has_last_use_time() ? FormatAge(file.last_use_time(), absl::Now()) : "-"});
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

// files/SHA256 for files/SHA256, SHA256 or a unique prefix of one of them.
absl::StatusOr<std::string> ResolveFile(const v1::ListFilesResponse& all, const std::string& text) {
  std::vector<std::string> found;
  for (const v1::File& file : all.files()) {
    if (file.name() == text || Digits(file) == text) return file.name();
    if (!text.empty() && absl::StartsWith(Digits(file), text)) found.push_back(file.name());
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat("the daemon has no file \"", PlainText(text),
                                            "\"; `trainctl files` lists them"));
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", PlainText(text), "\" is the beginning of ",
                                                 found.size(), " files; add more digits"));
}

int RemoveFile(Connection& connection, const std::string& name, const Context& context,
               v1::ListFilesResponse* removed) {
  v1::DeleteFileRequest request;
  request.set_name(name);
  request.set_request_id(NewRequestId());
  absl::StatusOr<v1::File> file = connection.Call<v1::File>(request);
  if (!file.ok()) return PrintError(file.status(), context);
  if (IsForPeople(context.form)) context.out() << PlainText(name) << " removed" << std::endl;
  removed->set_total_bytes(removed->total_bytes() + file->size_bytes());
  *removed->add_files() = *std::move(file);
  return kDone;
}

}  // namespace

int RunFiles(const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<v1::ListFilesResponse> all = ListAll(**connection);
  if (!all.ok()) return PrintError(all.status(), context);
  if (IsForPeople(context.form)) {
    PrintTable(*all, context);
  } else {
    PrintList(*all, all->files(), context.form, context.out());
  }
  return kDone;
}

int RunFilesRm(const std::vector<std::string>& files, const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<v1::ListFilesResponse> all = ListAll(**connection);
  if (!all.ok()) return PrintError(all.status(), context);
  std::vector<std::string> names;
  for (const std::string& text : files) {
    const absl::StatusOr<std::string> name = ResolveFile(*all, text);
    if (!name.ok()) return PrintError(name.status(), context);
    if (std::find(names.begin(), names.end(), *name) == names.end()) names.push_back(*name);
  }
  v1::ListFilesResponse removed;
  int code = kDone;
  for (const std::string& name : names)
    code = Worse(code, RemoveFile(**connection, name, context, &removed));
  if (!IsForPeople(context.form)) PrintList(removed, removed.files(), context.form, context.out());
  return code;
}

}  // namespace trainerd::client
