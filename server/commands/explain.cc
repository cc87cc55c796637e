// SPDX-License-Identifier: Apache-2.0
#include "server/commands/explain.h"

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
#include "server/commands/request.h"
#include "server/ledger/queue_wait.h"
#include "server/runs/device_table.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", FromProto(time), absl::UTCTimeZone());
}

void AddReason(const std::string& code, const std::string& message, const std::string& subject,
               v1::Explanation* out) {
  v1::Explanation::Reason& reason = *out->add_reasons();
  reason.set_code(code);
  reason.set_message(message);
  reason.set_subject(subject);
}

void AddAction(const std::string& message, const std::string& command, v1::Explanation* out) {
  v1::Explanation::Action& action = *out->add_actions();
  action.set_message(message);
  action.set_command(absl::StrCat("trainctl ", command));
}

// The values of resources.device that the device can serve, if that of the job is among them.
std::vector<std::string> RivalsOn(const v1::Device& device, const ExplainInput& input) {
  if (!device.unavailable().empty()) return {};
  std::vector<SchedulerDevice> devices;
  for (const ExplainInput::Holder& holder : input.devices) {
    devices.push_back(
        {.name = holder.device.name(), .usable = holder.device.unavailable().empty()});
  }
  std::vector<std::string> served = RequestsServedBy(device.name(), devices);
  const std::string& request = input.record.job.config().resources().device();
  if (std::find(served.begin(), served.end(), request) == served.end()) return {};
  return served;
}

// When the job that holds the device has ended, as it was when its last step ended.
std::optional<absl::Time> FreeAt(const ExplainInput::Holder& holder, absl::Time now) {
  if (holder.device.job().empty()) return now;
  if (!holder.progress.has_eta_seconds()) return std::nullopt;
  return std::max(now, FromProto(holder.progress.last_step_time()) +
                           absl::Seconds(holder.progress.eta_seconds()));
}

// Values of resources.device that some device serves which also serves this job.
std::set<std::string> Rivals(const ExplainInput& input) {
  std::set<std::string> rivals = {input.record.job.config().resources().device()};
  for (const ExplainInput::Holder& holder : input.devices) {
    const std::vector<std::string> served = RivalsOn(holder.device, input);
    rivals.insert(served.begin(), served.end());
  }
  return rivals;
}

void ExplainResources(const ExplainInput& input, v1::Explanation* out) {
  const Job& job = input.record.job;
  const std::string& request = job.config().resources().device();
  std::optional<absl::Time> first = absl::InfiniteFuture();
  for (const ExplainInput::Holder& holder : input.devices) {
    if (RivalsOn(holder.device, input).empty()) continue;
    const std::optional<absl::Time> free = FreeAt(holder, input.now);
    first = first && free ? std::optional(std::min(*first, *free)) : std::nullopt;
    if (holder.device.job().empty()) continue;
    AddReason("RESOURCES", absl::StrCat(holder.device.name(), " runs ", holder.device.job()),
              holder.device.job(), out);
    AddAction(absl::StrCat("frees ", holder.device.name(), " at a checkpoint"),
              absl::StrCat("pause ", holder.device.job()), out);
  }
  if (input.devices.empty()) {
    AddReason("RESOURCES", "the devices of this machine are not known yet", "", out);
  } else if (out->reasons().empty()) {
    AddReason("RESOURCES", "a device is free; the job starts in the next round", "", out);
  }
  if (input.jobs_before.has_value()) {
    out->set_queue_position(static_cast<int32_t>(*input.jobs_before + 1));
    if (*input.jobs_before == 0 && first && *first != absl::InfiniteFuture())
      *out->mutable_estimated_start_time() = ToProto(*first);
    if (*input.jobs_before > 0) {
      AddReason(
          "QUEUE",
          absl::StrCat(Counted(*input.jobs_before, "job"), " of higher priority or earlier ",
                       *input.jobs_before == 1 ? "submission comes" : "submission come", " first"),
          "", out);
      AddAction("moves it forward in the queue",
                absl::StrCat("update ", job.name(),
                             " priority=", std::min(job.config().priority() + 1, 100)),
                out);
    }
  }
  out->set_summary(absl::StrCat("waits for a free device", request == "auto" ? "" : ", ",
                                request == "auto" ? "" : request));
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
      return AddReason(code, "less than 1.2 times its last checkpoint is free", job.run_dir(), out);
    case Job::EXECUTOR_UNREACHABLE:
      out->set_summary("cannot start on this machine at present");
      return AddReason(code, "no job can start; the condition says why", "", out);
    default:
      return ExplainResources(input, out);
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

void ExplainOther(const Job& job, v1::Explanation* out) {
  switch (job.state()) {
    case Job::STARTING:
      return out->set_summary("loads model and data");
    case Job::RUNNING:
      return out->set_summary(absl::StrCat("trains; the last step was ", job.progress().step()));
    case Job::PAUSING:
      return out->set_summary("ends its step and writes a checkpoint, then is PAUSED");
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
    ExplainOther(job, &out);
  }
  for (const Job::Condition& condition : job.conditions()) {
    if (condition.active()) AddReason(condition.type(), condition.message(), "", &out);
  }
  out.set_effective_priority(job.config().priority());
  return out;
}

absl::StatusOr<v1::Explanation> ExplainJob(Store& store, std::vector<v1::Device> devices,
                                           const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", name));
  ExplainInput input{.now = store.Now()};
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(input.record, LoadJob(db, id));
    const Job& job = input.record.job;
    for (const int32_t index : input.record.ledger.pending_dependencies()) {
      ASSIGN_OR_RETURN(JobRecord on, LoadJob(db, JobId(job.config().depends_on(index).job())));
      input.pending.push_back(std::move(on.job));
    }
    for (v1::Device& device : devices) {
      ExplainInput::Holder holder{.device = std::move(device), .progress = {}};
      if (const auto by = LoadJob(db, JobId(holder.device.job())); by.ok())
        holder.progress = by->job.progress();
      input.devices.push_back(std::move(holder));
    }
    if (job.state() != Job::QUEUED || !WaitsForDevice(job.wait_reason())) return absl::OkStatus();
    input.jobs_before = 0;
    for (const std::string& request : Rivals(input)) {
      ASSIGN_OR_RETURN(const int64_t before,
                       JobsBefore(db, request, input.record, store.SteadyNow()));
      *input.jobs_before += before;
    }
    return absl::OkStatus();
  }));
  return Explain(input);
}

}  // namespace trainerd::server
