// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_violation.h"

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "proto/base/plain_text.h"

namespace trainerd {
namespace {

constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";
constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr size_t kMaxStatusBytes = 2048;
constexpr size_t kMaxQuotedBytes = 80;

std::string ViolationText(const ConfigViolation& violation, const std::string& file) {
  std::string text;
  if (!violation.set.empty()) {
    const std::string set = Quoted(violation.set);
    absl::StrAppend(&text, "--set ", set.substr(1, set.size() - 2), ": ");
    // The option begins with the path.
    const bool named = absl::StartsWith(violation.set, violation.path) ||
                       absl::StartsWith(violation.message, violation.path);
    return absl::StrCat(text, named ? "" : violation.path + ": ", violation.message);
  }
  if (!file.empty()) absl::StrAppend(&text, file, ":");
  if (violation.line > 0) absl::StrAppend(&text, file.empty() ? "line " : "", violation.line, ":");
  if (!text.empty()) text += " ";
  // "model.path is required" need not say the path twice.
  if (!violation.path.empty() && !absl::StartsWith(violation.message, violation.path))
    absl::StrAppend(&text, violation.path, ": ");
  absl::StrAppend(&text, violation.message);
  return text;
}

}  // namespace

std::string EnclosingPath(const std::string& path) {
  const size_t end = path.find_last_of(".[");
  return end == std::string::npos ? "" : path.substr(0, end);
}

void AttachLines(const std::map<std::string, int>& lines,
                 std::vector<ConfigViolation>* violations) {
  for (ConfigViolation& violation : *violations) {
    for (std::string path = violation.path; violation.line == 0 && !path.empty();
         path = EnclosingPath(path)) {
      const auto found = lines.find(path);
      if (found != lines.end()) violation.line = found->second;
    }
  }
}

std::string ViolationsText(const std::vector<ConfigViolation>& violations,
                           const std::string& file) {
  std::string text;
  for (const ConfigViolation& violation : violations)
    absl::StrAppend(&text, text.empty() ? "" : "\n", ViolationText(violation, file));
  return text;
}

absl::Status ViolationsToStatus(const std::vector<ConfigViolation>& violations,
                                const std::string& file) {
  if (violations.empty()) return absl::OkStatus();
  std::string text;
  google::rpc::BadRequest details;
  size_t shown = 0;
  for (const ConfigViolation& violation : violations) {
    const std::string line = ViolationText(violation, file);
    if (shown > 0 && text.size() + line.size() > kMaxStatusBytes) break;
    absl::StrAppend(&text, text.empty() ? "" : "\n", line);
    google::rpc::BadRequest::FieldViolation* field = details.add_field_violations();
    field->set_field(violation.path);
    field->set_description(violation.message);
    ++shown;
  }
  if (shown < violations.size())
    absl::StrAppend(&text, "\nand ", violations.size() - shown, " more");
  absl::Status status = absl::InvalidArgumentError(text);
  status.SetPayload(kBadRequestUrl, absl::Cord(details.SerializeAsString()));
  for (const ConfigViolation& violation : violations) {
    if (violation.reason.empty()) continue;
    google::rpc::ErrorInfo info;
    info.set_domain("trainerd");
    info.set_reason(violation.reason);
    status.SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
    break;
  }
  return status;
}

std::string Quoted(const std::string& text) {
  size_t size = text.size();
  if (size > kMaxQuotedBytes) {
    size = kMaxQuotedBytes;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  }
  return absl::StrCat("\"", EscapedText(text.substr(0, size)), size < text.size() ? "…\"" : "\"");
}

}  // namespace trainerd
