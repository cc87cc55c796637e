// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/explain_queue.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/ledger/drain.h"
#include "server/ledger/queue_order.h"
#include "server/ledger/queue_wait.h"
#include "server/runs/device_table.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

// Jobs that come first and are named.
constexpr int kNamedJobs = 5;

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

const RunningJob* FindRunning(const ExplainInput& input, const std::string& name) {
  for (const RunningJob& job : input.running) {
    if (JobName(job.id) == name) return &job;
  }
  return nullptr;
}

// What preemption will do with the job that holds a device.
std::string Fate(const ExplainInput& input, const RunningJob& holder) {
  if (holder.ending) return ", which is being ended";
  const SchedulingRules& rules = input.rules.scheduling;
  const bool lower = holder.priority < input.record.job.config().priority();
  if (!rules.preemption || !lower || input.jobs_before.value_or(0) > 0) return "";
  return holder.preemptible
             ? ", which has a lower priority and is preempted now"
             : absl::StrCat(", which has a lower priority and is preempted once it has run for ",
                            FormatSpan(rules.preemption_min_time));
}

void ExplainPreemption(const ExplainInput& input, v1::Explanation* out) {
  const internal::JobLedger& ledger = input.record.ledger;
  if (ledger.requeue_reason() == internal::REQUEUE_ATTEMPT_TIME) {
    const auto& limit = input.record.job.config().limits().max_attempt_time();
    return AddReason("PREEMPTED",
                     absl::StrCat("limits.max_attempt_time (", FormatSpan(FromProto(limit)),
                                  ") ended its last attempt; it is behind the jobs of equal "
                                  "priority that waited then"),
                     "", out);
  }
  const std::string& by = ledger.preempted_by();
  AddReason("PREEMPTED",
            RequeueReasonOf(ledger) == internal::REQUEUE_DRAIN
                ? "its last attempt ended because the daemon drained"
            : by.empty() ? "its last attempt had to free the device"
                         : absl::StrCat(by, " has a higher priority and took its device"),
            by, out);
}

// Whether a quota keeps the job waiting, and which.
bool ExplainQuota(const ExplainInput& input, v1::Explanation* out) {
  const std::string& owner = input.record.job.owner();
  const QuotaUse use = ReachedQuotas(input.running, input.rules.quotas);
  if (!use.Keeps(owner)) {
    if (input.record.job.wait_reason() != Job::QUOTA) return false;
    AddReason("QUOTA", "the quotas allow it to run; it starts in one of the next rounds", "", out);
    return false;
  }
  const RunQuotas& quotas = input.rules.quotas;
  AddReason("QUOTA",
            use.total
                ? absl::StrCat(Counted(quotas.max_running_jobs, "job"),
                               " may run (quotas.max_running_jobs), and as many do")
                : absl::StrCat(Counted(quotas.max_running_jobs_per_owner, "job"), " of ", owner,
                               " may run (quotas.max_running_jobs_per_owner), and as many "
                               "do"),
            use.total ? "" : owner, out);
  return true;
}

void ExplainDevices(const ExplainInput& input, bool limited, v1::Explanation* out) {
  std::optional<absl::Time> first = absl::InfiniteFuture();
  bool any = false;
  for (const ExplainInput::Holder& holder : input.devices) {
    const std::string& name = holder.device.job();
    if (RivalsOn(holder.device, input).empty()) continue;
    const std::optional<absl::Time> free = FreeAt(holder, input.now);
    first = first && free ? std::optional(std::min(*first, *free)) : std::nullopt;
    if (name.empty()) continue;
    any = true;
    const RunningJob* running = FindRunning(input, name);
    AddReason("RESOURCES",
              absl::StrCat(holder.device.name(), " runs ", name,
                           running == nullptr ? "" : Fate(input, *running)),
              name, out);
    AddAction(absl::StrCat("frees ", holder.device.name(), " at a checkpoint"),
              absl::StrCat("pause ", name), out);
  }
  if (input.devices.empty()) {
    AddReason("RESOURCES", "the devices of this machine are not known yet", "", out);
  } else if (!any && !limited) {
    AddReason("RESOURCES", "a device is free; the job starts in the next round", "", out);
  }
  if (input.jobs_before == 0 && !limited && first && *first != absl::InfiniteFuture())
    *out->mutable_estimated_start_time() = ToProto(*first);
}

// The jobs that come first, the next one at the front.
void ExplainPosition(const ExplainInput& input, v1::Explanation* out) {
  const Job& job = input.record.job;
  if (!input.jobs_before.has_value()) return;
  out->set_queue_position(static_cast<int32_t>(*input.jobs_before + 1));
  if (*input.jobs_before == 0) return;
  AddReason(
      "QUEUE",
      absl::StrCat(Counted(*input.jobs_before, "job"), " of higher priority or earlier ",
                   *input.jobs_before == 1 ? "submission comes" : "submission come", " first"),
      "", out);
  const absl::Duration aging = input.rules.scheduling.priority_aging;
  for (const QueueEntry& entry : input.candidates) {
    const int priority = EffectivePriority(entry, input.steady_now, aging);
    AddReason(
        "QUEUE",
        absl::StrCat(
            JobName(entry.id), " comes first, with priority ", priority,
            priority == entry.priority ? "" : absl::StrCat(" (", entry.priority, " and its age)")),
        JobName(entry.id), out);
  }
  AddAction(
      "moves it forward in the queue",
      absl::StrCat("update ", job.name(), " priority=", std::min(job.config().priority() + 1, 100)),
      out);
}

void ExplainDrain(const ExplainInput& input, v1::Explanation* out) {
  out->set_summary("waits until the daemon no longer drains");
  AddReason("DRAIN",
            "the daemon drains: no attempt starts until the drain is ended or the daemon restarts",
            "", out);
  AddAction("ends the drain", "undrain", out);
  ExplainPosition(input, out);
}

}  // namespace

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

void ExplainQueue(const ExplainInput& input, v1::Explanation* out) {
  const Job& job = input.record.job;
  const std::string& request = job.config().resources().device();
  if (job.wait_reason() == Job::DRAIN) return ExplainDrain(input, out);
  if (job.wait_reason() == Job::PREEMPTED) ExplainPreemption(input, out);
  const bool limited = ExplainQuota(input, out);
  ExplainDevices(input, limited, out);
  ExplainPosition(input, out);
  out->set_summary(limited ? "waits until the quotas allow it to run"
                           : absl::StrCat("waits for a free device", request == "auto" ? "" : ", ",
                                          request == "auto" ? "" : request));
}

absl::Status ReadQueueFor(Connection& db, ExplainInput* input) {
  input->jobs_before = 0;
  for (const std::string& request : Rivals(*input)) {
    const QueueQuery query{.device = request,
                           .now = input->steady_now,
                           .aging = input->rules.scheduling.priority_aging};
    ASSIGN_OR_RETURN(const int64_t before, JobsBefore(db, query, input->record));
    *input->jobs_before += before;
    ASSIGN_OR_RETURN(std::vector<QueueEntry> first, ListQueue(db, query, kNamedJobs + 1));
    for (QueueEntry& entry : first) {
      if (entry.number != input->record.number) input->candidates.push_back(std::move(entry));
    }
  }
  std::sort(input->candidates.begin(), input->candidates.end(),
            [&](const QueueEntry& a, const QueueEntry& b) {
              return ComesFirst(a, b, input->steady_now, input->rules.scheduling.priority_aging);
            });
  const int64_t named = std::min<int64_t>(
      {kNamedJobs, *input->jobs_before, static_cast<int64_t>(input->candidates.size())});
  input->candidates.resize(named);
  return absl::OkStatus();
}

}  // namespace trainerd::server
