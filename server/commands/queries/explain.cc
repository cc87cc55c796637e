// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/explain.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/commands/queries/explain_queue.h"
#include "server/commands/request.h"
#include "server/ledger/drain.h"
#include "server/ledger/queue_order.h"
#include "server/ledger/queue_wait.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", FromProto(time), absl::UTCTimeZone());
}

void ExplainDependencies(const ExplainInput& input, v1::Explanation* out) {
  const Job& job = input.record.job;
  const auto& indexes = input.record.ledger.pending_dependencies();
  for (int i = 0; i < indexes.size() && i < static_cast<int>(input.pending.size()); ++i) {
    const v1::DependencyConfig& dependency = job.config().depends_on(indexes[i]);
    AddReason(
        "DEPENDENCY",
        absl::StrCat(dependency.job(), " is ", StateName(input.pending[i].state()),
                     ", and this job waits for condition: ", EnumText(dependency.condition())),
        dependency.job(), out);
    AddAction("explains the other job", absl::StrCat("explain ", dependency.job()), out);
  }
  out->set_summary(absl::StrCat(
      "waits for ", Counted(static_cast<int64_t>(indexes.size()), "condition"), " of depends_on"));
}

void ExplainQueued(const ExplainInput& input, v1::Explanation* out) {
  const Job& job = input.record.job;
  const std::string code = Job::WaitReason_Name(job.wait_reason());
  switch (job.wait_reason()) {
    case Job::HELD:
      out->set_summary("is held until it is resumed");
      AddReason(code,
                job.attempt() > 0 ? "it was paused before it had a checkpoint"
                                  : "it was submitted with suspended: true, or paused",
                "", out);
      return AddAction("lets it start", absl::StrCat("resume ", job.name()), out);
    case Job::NOT_BEFORE:
      out->set_summary(absl::StrCat("waits until ", TimeText(job.not_before())));
      AddReason(code, absl::StrCat("not_before is ", TimeText(job.not_before())), "", out);
      *out->mutable_estimated_start_time() = job.not_before();
      return AddAction("lets it start at once",
                       absl::StrCat("update ", job.name(), " not_before=null"), out);
    case Job::DEPENDENCY:
      return ExplainDependencies(input, out);
    case Job::BACKOFF:
      out->set_summary("waits before its next attempt");
      AddReason(code, absl::StrCat("the last attempt failed: ", job.error().message()), "", out);
      return AddAction("shows its output", absl::StrCat("logs ", job.name()), out);
    case Job::DISK:
      out->set_summary("waits for space");
      return AddReason(code, "less than 1.2 times its next checkpoint is free", job.run_dir(), out);
    case Job::EXECUTOR_UNREACHABLE:
      out->set_summary("cannot start on this machine at present");
      return AddReason(code, "no job can start; the condition says why", "", out);
    default:
      return ExplainQueue(input, out);
  }
}

void ExplainEnd(const Job& job, v1::Explanation* out) {
  out->set_summary(absl::StrCat("is ", StateName(job.state())));
  if (job.has_error()) {
    AddReason(job.error().code(), job.error().message(), "", out);
    AddAction("shows its output", absl::StrCat("logs ", job.name()), out);
  }
  if (job.state() != Job::SUCCEEDED && !job.latest_checkpoint().empty()) {
    AddAction("continues from its last checkpoint in a new job",
              absl::StrCat("submit --from ", job.name()), out);
  }
}

void ExplainEvaluationWait(const Job& job, v1::Explanation* out) {
  out->set_summary("has trained to its end and awaits the evaluation of its final model");
  AddAction("shows the evaluations", absl::StrCat("evaluations ", job.name()), out);
  AddAction("ends the wait, as SUCCEEDED", absl::StrCat("stop ", job.name()), out);
}

void ExplainPausing(const JobRecord& record, v1::Explanation* out) {
  if (record.job.desired_state() != Job::DESIRED_RUN)
    return out->set_summary("ends its step and writes a checkpoint, then is PAUSED");
  out->set_summary("ends its step and writes a checkpoint, then is queued again");
  const std::string& by = record.ledger.preempted_by();
  if (record.ledger.requeue_reason() == internal::REQUEUE_ATTEMPT_TIME) {
    AddReason("PREEMPTED", "limits.max_attempt_time is over", "", out);
  } else if (RequeueReasonOf(record.ledger) == internal::REQUEUE_DRAIN) {
    AddReason("DRAIN", "the daemon drains", "", out);
  } else if (!by.empty()) {
    AddReason("PREEMPTED", absl::StrCat(by, " has a higher priority and takes its device"), by,
              out);
  }
}

void ExplainOther(const JobRecord& record, v1::Explanation* out) {
  const Job& job = record.job;
  if (record.ledger.awaiting_evaluation()) return ExplainEvaluationWait(job, out);
  switch (job.state()) {
    case Job::STARTING:
      return out->set_summary("loads model and data");
    case Job::RUNNING:
      return out->set_summary(absl::StrCat("trains; the last step was ", job.progress().step()));
    case Job::PAUSING:
      return ExplainPausing(record, out);
    case Job::STOPPING:
      return out->set_summary("is being stopped");
    case Job::PAUSED:
      out->set_summary("is paused until it is resumed");
      AddReason("PAUSED", absl::StrCat("it continues from ", job.latest_checkpoint()),
                job.latest_checkpoint(), out);
      return AddAction("lets it continue", absl::StrCat("resume ", job.name()), out);
    default:
      return ExplainEnd(job, out);
  }
}

}  // namespace

v1::Explanation Explain(const ExplainInput& input) {
  const Job& job = input.record.job;
  v1::Explanation out;
  if (job.state() == Job::QUEUED) {
    ExplainQueued(input, &out);
  } else {
    ExplainOther(input.record, &out);
  }
  for (const Job::Condition& condition : job.conditions()) {
    if (condition.active()) AddReason(condition.type(), condition.message(), "", &out);
  }
  out.set_effective_priority(
      EffectivePriority(input.record, input.steady_now, input.rules.scheduling.priority_aging));
  return out;
}

absl::StatusOr<v1::Explanation> ExplainJob(Store& store, std::vector<v1::Device> devices,
                                           const QueueRules& rules, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", name));
  ExplainInput input{.rules = rules, .now = store.Now(), .steady_now = store.SteadyNow()};
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(input.record, LoadJob(db, id));
    const Job& job = input.record.job;
    for (const int32_t index : input.record.ledger.pending_dependencies()) {
      ASSIGN_OR_RETURN(JobRecord on, LoadJob(db, JobId(job.config().depends_on(index).job())));
      input.pending.push_back(std::move(on.job));
    }
    for (v1::Device& device : devices) {
      ExplainInput::Holder holder{.device = std::move(device), .progress = {}};
      if (const auto by = LoadJob(db, JobId(holder.device.job())); by.ok()) {
        holder.progress = by->job.progress();
        input.running.push_back(DescribeRunning(*by, rules.scheduling, input.steady_now));
      }
      input.devices.push_back(std::move(holder));
    }
    if (job.state() != Job::QUEUED || !WaitsForDevice(job.wait_reason())) return absl::OkStatus();
    return ReadQueueFor(db, &input);
  }));
  return Explain(input);
}

}  // namespace trainerd::server
