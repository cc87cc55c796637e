// SPDX-License-Identifier: Apache-2.0
#include "server/commands/checkpoints/checkpoint_manager.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/message_differencer.h"
#include "google/protobuf/util/time_util.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/rules/label_rules.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/commands/command.h"
#include "server/commands/request.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/checkpoints/load_checkpoint.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/store/errors.h"
#include "server/store/rows/access/audit_rows.h"
#include "server/store/rows/retention_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr int kMaxVerifications = 2;
constexpr absl::Duration kVerificationRetry = absl::Seconds(30);
// Elements of each list of CollectGarbageResponse.
constexpr int kMaxGarbageItems = 5'000;
constexpr char kLabels[] = "labels", kPinned[] = "pinned", kExpireTime[] = "expire_time";

bool IsValidTime(const google::protobuf::Timestamp& time) {
  using google::protobuf::util::TimeUtil;
  constexpr int32_t kNanosPerSecond = 1'000'000'000;
  return time.seconds() >= TimeUtil::kTimestampMinSeconds &&
         time.seconds() <= TimeUtil::kTimestampMaxSeconds && time.nanos() >= 0 &&
         time.nanos() < kNanosPerSecond;
}

absl::Status CheckUpdate(const v1::UpdateCheckpointRequest& request) {
  const std::string advice =
      absl::StrCat("what can change is ", kLabels, ", ", kPinned, " and ", kExpireTime);
  if (request.update_mask().paths().empty())
    return BadField("update_mask", absl::StrCat("is empty; ", advice));
  for (const std::string& path : request.update_mask().paths()) {
    if (path == kLabels || path == kPinned || path == kExpireTime) continue;
    return BadField("update_mask", absl::StrCat(Quoted(path), " cannot be updated; ", advice));
  }
  std::vector<ConfigViolation> violations;
  CheckLabels(request.checkpoint().labels(), &violations);
  RETURN_IF_ERROR(ViolationsToStatus(violations));
  const google::protobuf::Timestamp& expiry = request.checkpoint().expire_time();
  if (IsValidTime(expiry)) return absl::OkStatus();
  return BadField("checkpoint.expire_time",
                  absl::StrCat(expiry.seconds(), " s and ", expiry.nanos(),
                               " ns since 1970 are no time of the years 1 to 9999"));
}

// Sets the fields of the mask. Returns whether one of them changed.
bool ApplyUpdate(const v1::UpdateCheckpointRequest& request, v1::Checkpoint* checkpoint) {
  const v1::Checkpoint before = *checkpoint;
  const v1::Checkpoint& values = request.checkpoint();
  for (const std::string& path : request.update_mask().paths()) {
    if (path == kLabels) *checkpoint->mutable_labels() = values.labels();
    if (path == kPinned) checkpoint->set_pinned(values.pinned());
    if (path != kExpireTime) continue;
    checkpoint->clear_expire_time();
    if (values.has_expire_time()) *checkpoint->mutable_expire_time() = values.expire_time();
  }
  return !google::protobuf::util::MessageDifferencer::Equals(before, *checkpoint);
}

// A call without a request_id, for the audit.
CommandCall AuditedCall(const std::string& method, const Caller& caller, const std::string& name) {
  return {.method = method,
          .request_id = "",
          .body_hash = "",
          .caller = caller,
          .reason = CheckpointId(name),
          .resource = name};
}

AuditRow CollectionRow(const std::string& resource, const Caller& caller) {
  return {.method = "CollectGarbage",
          .resource = resource,
          .principal = caller.principal,
          .peer = caller.peer};
}

using Item = v1::CollectGarbageResponse::Item;

Item MakeItem(const std::string& name, int64_t bytes, const std::string& reason) {
  Item item;
  item.set_name(name);
  item.set_bytes(bytes);
  item.set_reason(reason);
  return item;
}

// The largest items, as many as the list may have; returns the bytes of all.
int64_t FillList(std::vector<Item> items, google::protobuf::RepeatedPtrField<Item>* list) {
  int64_t bytes = 0;
  for (const Item& item : items) bytes += item.bytes();
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.bytes() > b.bytes(); });
  if (items.size() > kMaxGarbageItems) items.resize(kMaxGarbageItems);
  for (Item& item : items) *list->Add() = std::move(item);
  return bytes;
}

// What becomes of a job that has lost a checkpoint.
std::string AfterDamage(const v1::Job& job) {
  if (IsTerminal(job.state())) return "Use an older checkpoint";
  if (!job.latest_checkpoint().empty())
    return absl::StrCat(job.name(), " resumes from ", job.latest_checkpoint());
  return absl::StrCat(job.name(),
                      " has no verified checkpoint left to resume from; verify an older one of "
                      "`trainctl checkpoints ls ",
                      JobId(job.name()), "`, or submit the job again");
}

}  // namespace

CheckpointManager::CheckpointManager(Options options, Store& store, Housekeeping& housekeeping)
    : options_(std::move(options)), store_(store), housekeeping_(housekeeping) {}

absl::StatusOr<v1::Checkpoint> CheckpointManager::Update(const v1::UpdateCheckpointRequest& request,
                                                         const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  const std::string& name = request.checkpoint().name();
  RETURN_IF_ERROR(RequestedCheckpoint("checkpoint.name", name));
  RETURN_IF_ERROR(CheckUpdate(request));
  const std::string job_id = JobId(name);
  const std::string& etag = request.checkpoint().etag();
  CommandCall call = MakeCall("UpdateCheckpoint", request, caller);
  call.resource = name;
  call.reason =
      absl::StrCat(CheckpointId(name), ": ", absl::StrJoin(request.update_mask().paths(), ", "));
  v1::Checkpoint reply;
  RETURN_IF_ERROR(RunCommand(
      store_, call, job_id,
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(CheckpointRow row, LoadCheckpoint(t.db(), name));
        if (!etag.empty() && etag != row.checkpoint.etag()) {
          return ErrorWithReason(
              absl::StatusCode::kAborted, "ETAG_CHANGED",
              absl::StrCat(name, " has changed: its etag is \"", row.checkpoint.etag(), "\", not ",
                           Quoted(etag), "; read the checkpoint again"));
        }
        const bool changed = ApplyUpdate(request, &row.checkpoint);
        if (changed) {
          ChangeEtag(&row.checkpoint);
          RETURN_IF_ERROR(RecordCheckpoint(t, row.checkpoint, v1::CheckpointEvent::UPDATED,
                                           absl::StrJoin(request.update_mask().paths(), ", ")));
          ASSIGN_OR_RETURN(const JobRecord job, LoadJob(t.db(), job_id));
          RETURN_IF_ERROR(StoreDueTime(t.db(), job_id, CheckpointId(name),
                                       NextExpiry(row.checkpoint, job.job.config().checkpoint(),
                                                  IsTerminal(job.job.state()))));
        }
        reply = std::move(row.checkpoint);
        return absl::OkStatus();
      },
      &reply));
  return reply;
}

absl::Status CheckpointManager::ReadBack(const v1::Checkpoint& checkpoint,
                                         const std::function<bool()>& is_cancelled,
                                         std::string* file) {
  {
    absl::MutexLock lock(&mutex_);
    if (verifications_ >= kMaxVerifications) {
      return WithRetry(
          ErrorWithReason(absl::StatusCode::kResourceExhausted, "VERIFICATIONS",
                          absl::StrCat(kMaxVerifications,
                                       " checkpoints are being verified, which is the limit; "
                                       "verify this one when one of them has ended")),
          kVerificationRetry);
    }
    ++verifications_;
  }
  housekeeping_.Hold(checkpoint.name());
  absl::Status status = VerifyCheckpoint(checkpoint, is_cancelled, file);
  housekeeping_.Release(checkpoint.name());
  absl::MutexLock lock(&mutex_);
  --verifications_;
  return status;
}

absl::StatusOr<v1::Checkpoint> CheckpointManager::Verify(
    const v1::VerifyCheckpointRequest& request, const Caller& caller,
    const std::function<bool()>& is_cancelled) {
  RETURN_IF_ERROR(CheckRequest(request));
  const std::string& name = request.name();
  RETURN_IF_ERROR(RequestedCheckpoint("name", name));
  ASSIGN_OR_RETURN(const CheckpointRow row,
                   store_.Read([&](Connection& db) { return LoadCheckpoint(db, name); }));
  std::string file;
  const absl::Status read = ReadBack(row.checkpoint, is_cancelled, &file);
  if (read.ok()) return RecordVerified(name, caller);
  if (absl::IsNotFound(read) || absl::IsDataLoss(read)) {
    return RecordDamaged(name, caller, read, file);
  }
  if (absl::IsCancelled(read) || absl::IsResourceExhausted(read)) return read;
  return absl::UnavailableError(absl::StrCat(name, ": ", read.message()));
}

absl::StatusOr<v1::Checkpoint> CheckpointManager::RecordVerified(const std::string& name,
                                                                 const Caller& caller) {
  v1::Checkpoint reply;
  RETURN_IF_ERROR(RunCommand(
      store_, AuditedCall("VerifyCheckpoint", caller, name), JobId(name),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(CheckpointRow row, LoadCheckpoint(t.db(), name));
        if (!row.checkpoint.verified() || !row.checkpoint.damage().empty()) {
          row.checkpoint.set_verified(true);
          row.checkpoint.clear_damage();
          RETURN_IF_ERROR(RecordCheckpoint(t, row.checkpoint, v1::CheckpointEvent::VERIFIED,
                                           "read back by VerifyCheckpoint"));
          ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), JobId(name)));
          RETURN_IF_ERROR(UpdateResumePoint(t, &record).status());
          RETURN_IF_ERROR(StoreJob(t.db(), &record));
          // It may have become the best one.
          ASSIGN_OR_RETURN(row, LoadCheckpoint(t.db(), name));
        }
        reply = std::move(row.checkpoint);
        return absl::OkStatus();
      },
      &reply));
  options_.poke(reply.job());
  return reply;
}

absl::Status CheckpointManager::RecordDamaged(const std::string& name, const Caller& caller,
                                              const absl::Status& why, const std::string& file) {
  const std::string damage(why.message());
  std::string consequence;
  v1::Checkpoint reply;
  RETURN_IF_ERROR(RunCommand(
      store_, AuditedCall("VerifyCheckpoint", caller, name), JobId(name),
      [&](Transaction& t) -> absl::Status {
        ASSIGN_OR_RETURN(const CheckpointRow row, LoadCheckpoint(t.db(), name));
        if (row.checkpoint.verified() || row.checkpoint.damage() != damage)
          RETURN_IF_ERROR(MarkCorruptInJob(t, row.checkpoint, damage));
        ASSIGN_OR_RETURN(const JobRecord record, LoadJob(t.db(), JobId(name)));
        consequence = AfterDamage(record.job);
        return absl::OkStatus();
      },
      &reply));
  options_.poke(JobName(JobId(name)));
  return ErrorWithReason(absl::StatusCode::kDataLoss, "CHECKPOINT_DAMAGED",
                         absl::StrCat(name, " is damaged: ", damage,
                                      "; no job starts from it any more. ", consequence),
                         {{"file", file}});
}

absl::StatusOr<v1::CollectGarbageResponse> CheckpointManager::CollectGarbage(
    const v1::CollectGarbageRequest& request, const Caller& caller,
    const std::function<bool()>& is_cancelled) {
  RETURN_IF_ERROR(CheckRequest(request));
  const bool all = request.parent() == kAllJobs;
  std::vector<std::string> ids;
  if (all) {
    ASSIGN_OR_RETURN(ids, store_.Read([](Connection& db) { return JobsWithFiles(db); }));
  } else {
    ASSIGN_OR_RETURN(const std::string id, RequestedJob("parent", request.parent()));
    ids.push_back(id);
  }
  std::vector<Item> removed, kept;
  absl::Status failed;
  for (const std::string& id : ids) {
    if (is_cancelled && is_cancelled()) return absl::CancelledError("the caller no longer waits");
    const absl::StatusOr<Housekeeping::Garbage> garbage =
        housekeeping_.CollectJob(id, request.dry_run(), [&](Transaction& t) {
          return StoreAudit(t.db(), CollectionRow(JobName(id), caller), t.now());
        });
    if (absl::IsNotFound(garbage.status()) && all) continue;  // deleted in between
    if (!garbage.ok()) {
      spdlog::error("job={} cannot collect garbage: {}", id,
                    std::string(garbage.status().message()));
      if (failed.ok()) failed = garbage.status();
      continue;
    }
    for (const RetentionItem& item : garbage->checkpoints) {
      (item.removed ? removed : kept)
          .push_back(MakeItem(item.checkpoint.name(), item.checkpoint.size_bytes(),
                              RetentionReasonName(item.reason)));
    }
    for (const Housekeeping::Garbage::Leftover& leftover : garbage->leftovers)
      removed.push_back(MakeItem(leftover.path, leftover.bytes, "LEFTOVER"));
  }
  RETURN_IF_ERROR(failed);
  if (all) {
    ASSIGN_OR_RETURN(const auto leftovers, housekeeping_.CollectTrash(request.dry_run()));
    for (const Housekeeping::Garbage::Leftover& leftover : leftovers)
      removed.push_back(MakeItem(leftover.path, leftover.bytes, "LEFTOVER"));
  }
  if (all && options_.files != nullptr) {
    ASSIGN_OR_RETURN(const std::vector<FileStore::Collected> files,
                     options_.files->CollectUnused(request.dry_run(), [&](Transaction& t) {
                       return StoreAudit(t.db(), CollectionRow("files", caller), t.now());
                     }));
    for (const FileStore::Collected& file : files)
      (file.removed ? removed : kept).push_back(MakeItem(file.name, file.bytes, file.reason));
  }
  v1::CollectGarbageResponse response;
  response.set_removed_bytes(FillList(std::move(removed), response.mutable_removed()));
  response.set_kept_bytes(FillList(std::move(kept), response.mutable_kept()));
  return response;
}

}  // namespace trainerd::server
