// SPDX-License-Identifier: Apache-2.0
#include "engine/core/job_error.h"

#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::engine {
namespace {

constexpr char kPayloadUrl[] = "type.trainerd/v1.JobError";

// What a stage's errors mean when the user's input caused them.
ErrorCause UserCause(const std::string& stage) {
  if (stage == "PrepareData") return {"DATA_INVALID", v1::JobError::DATA, false};
  if (stage == "CheckMasking") return {"MASKING_FAULT", v1::JobError::DATA, false};
  if (stage == "OpenModel" || stage == "LoadWeights")
    return {"MODEL_INVALID", v1::JobError::USER, false};
  if (stage == "CheckRunIdentity" || stage == "Restore")
    return {"RUN_IDENTITY", v1::JobError::USER, false};
  if (stage == "SaveFinal") return {"OUTPUT_INVALID", v1::JobError::USER, false};
  return {"CONFIGURATION_INVALID", v1::JobError::USER, false};
}

ErrorCause CauseOf(const std::string& stage, absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return UserCause(stage);
    case absl::StatusCode::kDataLoss:
      // A damaged model folder is the user's input. A damaged checkpoint is ours, and a retry can
      // use an older one.
      if (stage == "OpenModel" || stage == "PrepareData") return UserCause(stage);
      return {"CHECKPOINT_DAMAGED", v1::JobError::STORAGE, true};
    case absl::StatusCode::kResourceExhausted:
      return {"OUT_OF_MEMORY", v1::JobError::OUT_OF_MEMORY, false};
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return {"PERMISSION_DENIED", v1::JobError::STORAGE, false};
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return {"DEVICE_UNAVAILABLE", v1::JobError::HARDWARE, true};
    case absl::StatusCode::kOk:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kAborted:
    default:  // the enum is open: Abseil carries a sentinel value
      return {"INTERNAL", v1::JobError::INTERNAL, true};
  }
}

// The cause that WithCause has attached.
std::optional<ErrorCause> AttachedCause(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  v1::JobError error;
  if (!payload.has_value() || !error.ParseFromString(std::string(*payload))) return std::nullopt;
  return ErrorCause{error.code(), error.cause(), error.retryable()};
}

}  // namespace

absl::Status WithCause(absl::Status status, const ErrorCause& cause) {
  if (status.ok()) return status;
  v1::JobError error;
  error.set_code(cause.code);
  error.set_cause(cause.cause);
  error.set_retryable(cause.retryable);
  status.SetPayload(kPayloadUrl, absl::Cord(error.SerializeAsString()));
  return status;
}

absl::Status CheckFence(const std::string& run_dir, int attempt) {
  absl::Status status = CheckPublisher(run_dir, attempt);
  if (!absl::IsFailedPrecondition(status)) return status;
  return WithCause(std::move(status), {"FENCED", v1::JobError::EXECUTOR, true});
}

ErrorCause WriteCause(const absl::Status& status, const std::string& code) {
  if (const std::optional<ErrorCause> attached = AttachedCause(status)) return *attached;
  return {code, v1::JobError::STORAGE, true};
}

v1::JobError ToJobError(const std::string& stage, const absl::Status& status) {
  const ErrorCause cause = AttachedCause(status).value_or(CauseOf(stage, status.code()));
  v1::JobError error;
  error.set_code(cause.code);
  error.set_cause(cause.cause);
  error.set_retryable(cause.retryable);
  error.set_message(absl::StrCat(stage, ": ", status.message()));
  return error;
}

}  // namespace trainerd::engine
