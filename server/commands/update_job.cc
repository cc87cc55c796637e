// SPDX-License-Identifier: Apache-2.0
#include "server/commands/update_job.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/field_mask_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/rules/config_limits.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/ledger/queue_wait.h"
#include "server/ledger/transition.h"
#include "server/store/errors.h"
#include "server/store/rows/label_rows.h"

namespace trainerd::server {
namespace {

using google::protobuf::FieldMask;
using google::protobuf::util::FieldMaskUtil;
using google::protobuf::util::MessageDifferencer;

constexpr char kConfig[] = "config.";

// What a job that has ended still accepts: what people call and sort it by.
bool ConcernsEndedJobs(const std::string& path) {
  return path == "config.name" || path == "config.labels";
}

void AddLivePaths(const google::protobuf::Descriptor& group, const std::string& section,
                  std::vector<std::string>* paths) {
  for (int i = 0; i < group.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *group.field(i);
    const std::string path = JoinPath(section, std::string(field.name()));
    if (KnobOf(field).live()) paths->push_back(path);
    if (!IsScalarField(field) && !field.is_repeated())
      AddLivePaths(*field.message_type(), path, paths);
  }
}

// The key of the job file that a path of the mask stands for.
std::string KeyOf(const std::string& path) { return std::string(absl::StripPrefix(path, kConfig)); }

FieldMask MaskOf(const std::string& path) {
  FieldMask mask;
  mask.add_paths(path);
  return mask;
}

// Copies one field, also its absence.
void CopyField(const std::string& path, const v1::Job& from, v1::Job* to) {
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(from, MaskOf(path), options, to);
}

bool IsSame(const std::string& path, const v1::Job& ours, const v1::Job& theirs) {
  v1::Job left, right;
  CopyField(path, ours, &left);
  CopyField(path, theirs, &right);
  return MessageDifferencer::Equals(left, right);
}

// The stored configuration with the values of the request. Errors: of the rules that hold for a
// submit, but for faults that the stored configuration has, too: rules are added over time.
absl::StatusOr<v1::Job> Updated(const v1::UpdateJobRequest& request,
                                const std::set<std::string>& paths, const v1::Job& job,
                                absl::Time now) {
  v1::Job updated;
  *updated.mutable_config() = job.config();
  for (const std::string& path : paths) CopyField(path, request.job(), &updated);
  const ResolveOptions options{.now = now, .default_name = "job"};
  std::vector<ConfigViolation> violations, older;
  v1::ResolvedJobConfig resolved = ResolveJobConfig(updated.config(), options, &violations);
  if (!violations.empty()) {
    ResolveJobConfig(job.config(), options, &older);
    std::erase_if(violations, [&](const ConfigViolation& violation) {
      return std::any_of(older.begin(), older.end(), [&](const ConfigViolation& other) {
        return other.path == violation.path && other.message == violation.message;
      });
    });
    RETURN_IF_ERROR(ViolationsToStatus(violations));
  }
  // It has none if the stored one is larger than today's rules allow.
  if (!resolved.has_config()) return updated;
  *updated.mutable_config() = std::move(*resolved.mutable_config());
  return updated;
}

// Job.given: an updated key was given, one that was reset was not.
void UpdateGiven(const std::string& path, const v1::Job& from, v1::Job* job) {
  const std::string key = KeyOf(path);
  std::vector<std::string> given;
  for (const std::string& other : job->given()) {
    const bool replaced =
        other == key || absl::StartsWith(other, key + ".") || absl::StartsWith(other, key + "[");
    if (!replaced) given.push_back(other);
  }
  v1::Job only;
  CopyField(path, from, &only);
  for (std::string& added : FieldPaths(only.config())) given.push_back(std::move(added));
  job->mutable_given()->Assign(given.begin(), given.end());
}

// A pause or stop in progress that gave no grace of its own follows a shorter one; nothing extends
// it (SetDeadlines).
void ShortenEnd(JobRecord* record) {
  internal::JobLedger& ledger = record->ledger;
  if (!ledger.has_end_deadline() || ledger.has_end_grace()) return;
  const absl::Duration grace = FromProto(record->job.config().limits().stop_grace());
  *ledger.mutable_end_deadline() = ToProto(
      std::min(FromProto(ledger.end_deadline()), FromProto(ledger.end_requested()) + grace));
}

// Lets a queued job wait for what config.not_before says now.
absl::Status MoveWait(Transaction& t, JobRecord* record) {
  const v1::Job& job = record->job;
  const bool waits_for_time = job.wait_reason() == v1::Job::NOT_BEFORE;
  if (job.state() != v1::Job::QUEUED || (!waits_for_time && !WaitsForDevice(job.wait_reason())))
    return absl::OkStatus();
  const bool shall_wait = NextWait(*record, t.now()) == v1::Job::NOT_BEFORE;
  if (shall_wait && waits_for_time) {
    *record->job.mutable_not_before() = job.config().not_before();
    return StoreJob(t.db(), record);
  }
  if (!shall_wait && !waits_for_time) return absl::OkStatus();
  return ApplyTransition(t,
                         {.to = v1::Job::QUEUED,
                          .desired_state = job.desired_state(),
                          .wait_reason = v1::Job::RESOURCES,
                          .reason = "not_before was changed",
                          .actor = "user"},
                         record);
}

}  // namespace

const std::vector<std::string>& LivePaths() {
  static const std::vector<std::string>& paths = *[] {
    auto* found = new std::vector<std::string>();
    AddLivePaths(*v1::JobConfig::descriptor(), "config", found);
    return found;
  }();
  return paths;
}

absl::StatusOr<std::set<std::string>> CheckUpdate(const v1::UpdateJobRequest& request) {
  const std::vector<std::string>& live = LivePaths();
  const std::string advice =
      absl::StrCat("the keys that can change after the submit are ", absl::StrJoin(live, ", "));
  if (request.update_mask().paths().empty())
    return BadField("update_mask", absl::StrCat("is empty; ", advice));
  const std::set<std::string> paths(request.update_mask().paths().begin(),
                                    request.update_mask().paths().end());
  for (const std::string& path : paths) {
    if (std::find(live.begin(), live.end(), path) != live.end()) continue;
    return WithReason(
        BadField("update_mask", absl::StrCat(Quoted(path), " cannot be updated; ", advice)),
        "NOT_LIVE");
  }
  std::vector<ConfigViolation> violations;
  CheckUnknownFields(request.job().config(), &violations);
  CheckConfigSize(request.job().config(), &violations);
  RETURN_IF_ERROR(ViolationsToStatus(violations));
  return paths;
}

absl::StatusOr<std::vector<std::string>> ApplyUpdate(Transaction& transaction,
                                                     const v1::UpdateJobRequest& request,
                                                     const std::set<std::string>& paths,
                                                     JobRecord* record) {
  v1::Job& job = record->job;
  for (const std::string& path : paths) {
    if (!IsTerminal(job.state()) || ConcernsEndedJobs(path)) continue;
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "JOB_TERMINAL",
                           absl::StrCat(job.name(), " is ", StateName(job.state()), ": ", path,
                                        " no longer matters. A job that has ended accepts "
                                        "config.name and config.labels only"),
                           {{"state", StateName(job.state())}, {"command", "UpdateJob"}});
  }
  ASSIGN_OR_RETURN(const v1::Job updated, Updated(request, paths, job, transaction.now()));
  const LabelMap labels = job.config().labels();
  std::vector<std::string> changed;
  for (const std::string& path : paths) {
    if (IsSame(path, job, updated)) continue;
    changed.push_back(path);
    CopyField(path, updated, &job);
    UpdateGiven(path, request.job(), &job);
  }
  if (changed.empty()) return changed;
  ++record->revision;
  ShortenEnd(record);
  RETURN_IF_ERROR(StoreJob(transaction.db(), record));
  v1::Event event;
  event.set_job(job.name());
  event.set_attempt(job.attempt());
  event.mutable_job_updated()->mutable_update_mask()->mutable_paths()->Assign(changed.begin(),
                                                                              changed.end());
  event.mutable_job_updated()->set_actor("user");
  const bool relabelled = std::count(changed.begin(), changed.end(), "config.labels") > 0;
  const int flags = IsTerminal(job.state()) ? kLabelsChanged : kLabelsChanged | kJobOpen;
  RETURN_IF_ERROR(transaction.Append(std::move(event), relabelled ? flags : 0));
  if (relabelled) {
    RETURN_IF_ERROR(ChangeLabels(transaction.db(), JobId(job.name()), transaction.last_seq(),
                                 labels, job.config().labels()));
  }
  RETURN_IF_ERROR(MoveWait(transaction, record));
  return changed;
}

}  // namespace trainerd::server
