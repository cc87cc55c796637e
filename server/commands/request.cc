// SPDX-License-Identifier: Apache-2.0
#include "server/commands/request.h"

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

using google::protobuf::FieldDescriptor;

constexpr size_t kMaxTextBytes = 1024;
constexpr size_t kMaxRequestIdBytes = 128;
constexpr int kMaxEntries = 1000;
constexpr int kMaxLabels = 64;

// Those of selectors and of ReportEvaluation are longer.
size_t MaxBytes(const std::string& name) {
  if (name == "error" || name == "label_selector") return 4 * kMaxTextBytes;
  return name == "artifacts" ? 2 * kMaxTextBytes : kMaxTextBytes;
}

absl::Status TooLong(const std::string& field, const std::string& text, size_t limit) {
  return BadField(field, absl::StrCat("has ", text.size(), " bytes; the limit is ", limit));
}

// `name` is that of the field, which can be an element of it.
absl::Status CheckText(const std::string& name, const std::string& field, const std::string& text) {
  if (name == "request_id") return CheckRequestId(text);
  if (text.size() > MaxBytes(name)) return TooLong(field, text, MaxBytes(name));
  // The only texts of these requests that others are shown as they are.
  if ((name != "reason" && name != "evaluator") || !HasControlCharacter(text))
    return absl::OkStatus();
  return BadField(field, absl::StrCat(Quoted(text),
                                      " holds a control character, a line separator or a "
                                      "direction control; send plain text"));
}

// These have rules of their own: RequestedJob, RequestedJobOrCheckpoint and PrepareJob.
bool IsName(const std::string& field) {
  static const std::set<std::string>& names =
      *new std::set<std::string>{"name", "parent", "base", "job_id", "from_checkpoint", "model"};
  return names.count(field) > 0;
}

absl::Status CheckField(const google::protobuf::Message& request, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *request.GetReflection();
  const std::string name(field.name());
  const bool is_text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  if (!field.is_repeated())
    return is_text && !IsName(name) ? CheckText(name, name, reflection.GetString(request, &field))
                                    : absl::OkStatus();
  const int size = reflection.FieldSize(request, &field);
  const int limit = name == "labels" ? kMaxLabels : kMaxEntries;
  if (size > limit) {
    return BadField(name, absl::StrCat("has ", size, " entries; the limit is ", limit));
  }
  for (int i = 0; i < size; ++i) {
    if (field.is_map()) {
      RETURN_IF_ERROR(CheckRequest(reflection.GetRepeatedMessage(request, &field, i)));
    } else if (is_text) {
      RETURN_IF_ERROR(CheckText(name, absl::StrCat(name, "[", i, "]"),
                                reflection.GetRepeatedString(request, &field, i)));
    }
  }
  return absl::OkStatus();
}

absl::Status InvalidName(const std::string& field, const std::string& name,
                         const std::string& form) {
  return WithReason(BadField(field, absl::StrCat(Quoted(name), " is not the name of ", form)),
                    "INVALID_NAME");
}

}  // namespace

absl::StatusOr<std::string> RequestedJob(const std::string& field, const std::string& name) {
  std::optional<std::string> id = ParseJobName(name);
  if (id.has_value()) return *std::move(id);
  return InvalidName(field, name, "a job; use jobs/ID or ID");
}

absl::StatusOr<ResourceName> RequestedJobOrCheckpoint(const std::string& field,
                                                      const std::string& name) {
  std::optional<ResourceName> parts = ParseJobOrCheckpointName(name);
  if (parts.has_value()) return *std::move(parts);
  return InvalidName(field, name,
                     "a job or a checkpoint; use jobs/ID or jobs/ID/checkpoints/CHECKPOINT");
}

absl::Status RequestedCheckpoint(const std::string& field, const std::string& name) {
  const std::optional<ResourceName> parts = ParseJobOrCheckpointName(name);
  if (parts.has_value() && !parts->checkpoint_id.empty()) return absl::OkStatus();
  return InvalidName(field, name, "a checkpoint; use jobs/ID/checkpoints/CHECKPOINT");
}

absl::Status CheckRequestId(const std::string& request_id) {
  if (request_id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return TooLong("request_id", request_id, kMaxRequestIdBytes);
}

absl::StatusOr<absl::Duration> RequestedDuration(const std::string& field,
                                                 const google::protobuf::Duration& duration,
                                                 absl::Duration max) {
  constexpr int32_t kNanosPerSecond = 1'000'000'000;
  const int32_t nanos = duration.nanos();
  const absl::Duration value = FromProto(duration);
  if (nanos > -kNanosPerSecond && nanos < kNanosPerSecond && value >= absl::ZeroDuration() &&
      value <= max)
    return value;
  return BadField(field, absl::StrCat(absl::FormatDuration(value), " is not in 0s..",
                                      absl::ToInt64Hours(max), "h"));
}

absl::Status CheckRequest(const google::protobuf::Message& request) {
  std::vector<const FieldDescriptor*> fields;
  request.GetReflection()->ListFields(request, &fields);
  for (const FieldDescriptor* field : fields) RETURN_IF_ERROR(CheckField(request, *field));
  return absl::OkStatus();
}

}  // namespace trainerd::server
