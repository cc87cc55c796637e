// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/usage.h"

#include <algorithm>
#include <string>

#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/usage.h"
#include "server/ledger/queue_wait.h"
#include "server/store/rows/usage_rows.h"

namespace trainerd::server {
namespace {

// Not negative: a clock can have been set back.
double SecondsSince(const google::protobuf::Timestamp& time, absl::Time now) {
  return std::max(0.0, absl::ToDoubleSeconds(now - FromProto(time)));
}

int DeviceCount(const v1::Job& job) { return std::max(1, job.devices_size()); }

// Counts the time of the current stage up to `time`, by the worker's clock, and returns it.
double CountStage(absl::Time time, JobRecord* record) {
  internal::UsageRecord& counted = record->usage;
  if (counted.stage().empty()) return 0;
  const double seconds = SecondsSince(counted.stage_time(), time);
  (*record->job.mutable_usage()->mutable_stage_seconds())[counted.stage()] += seconds;
  *counted.mutable_stage_time() = ToProto(time);
  return seconds;
}

void TakeStage(const v1::StageEvent& stage, absl::Time time, internal::UsageRecord* counted) {
  counted->set_stage(stage.finished() ? "" : stage.stage());
  *counted->mutable_stage_time() = ToProto(time);
}

}  // namespace

void CountWait(v1::Job::State to, v1::Job::WaitReason wait, absl::Time steady_now,
               JobRecord* record) {
  internal::JobLedger& ledger = record->ledger;
  const bool queued = to == v1::Job::QUEUED;
  if (ledger.has_waiting_since()) {
    v1::Usage& usage = *record->job.mutable_usage();
    usage.set_waiting_seconds(usage.waiting_seconds() +
                              SecondsSince(ledger.waiting_since(), steady_now));
    ledger.clear_waiting_since();
  }
  if (queued && wait != v1::Job::HELD) *ledger.mutable_waiting_since() = ToProto(steady_now);
  if (!queued || !MayStart(wait)) {
    ledger.clear_queued_since();
  } else if (!ledger.has_queued_since()) {
    *ledger.mutable_queued_since() = ToProto(steady_now);
  }
}

void BeginAttemptUsage(absl::Time steady_now, JobRecord* record) {
  internal::UsageRecord& counted = record->usage;
  *counted.mutable_device_time() = ToProto(steady_now);
  counted.clear_stage();
  counted.clear_stage_time();
  counted.clear_attempt_steps();
  counted.clear_attempt_step_seconds();
  counted.clear_day();
}

void CountDeviceTime(absl::Time steady_now, JobRecord* record) {
  internal::UsageRecord& counted = record->usage;
  if (!counted.has_device_time()) return;
  v1::Usage& usage = *record->job.mutable_usage();
  usage.set_device_seconds(usage.device_seconds() +
                           DeviceCount(record->job) *
                               SecondsSince(counted.device_time(), steady_now));
  *counted.mutable_device_time() = ToProto(steady_now);
}

void CountEvent(const v1::Event& event, JobRecord* record) {
  internal::UsageRecord& counted = record->usage;
  const absl::Time time = FromProto(event.time());
  const double since_last = CountStage(time, record);
  if (event.has_stage()) TakeStage(event.stage(), time, &counted);
  if (event.has_metrics()) {
    v1::Usage& usage = *record->job.mutable_usage();
    usage.set_tokens(usage.tokens() + event.metrics().tokens());
    counted.set_attempt_steps(counted.attempt_steps() + 1);
    counted.set_attempt_step_seconds(
        counted.attempt_step_seconds() +
        (event.metrics().has_step_seconds() ? event.metrics().step_seconds() : since_last));
  }
  if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED &&
      event.checkpoint().has_write_time()) {
    v1::Usage& usage = *record->job.mutable_usage();
    usage.set_checkpoint_seconds(usage.checkpoint_seconds() +
                                 absl::ToDoubleSeconds(FromProto(event.checkpoint().write_time())));
  }
}

void EndAttemptUsage(absl::Time steady_now, bool machine_restarted, int64_t lost_steps,
                     JobRecord* record) {
  internal::UsageRecord& counted = record->usage;
  if (!machine_restarted) CountDeviceTime(steady_now, record);
  counted.clear_device_time();
  counted.clear_stage();
  counted.clear_stage_time();
  const int64_t steps = counted.attempt_steps();
  lost_steps = std::clamp<int64_t>(lost_steps, 0, steps);
  if (lost_steps == 0) return;
  v1::Usage& usage = *record->job.mutable_usage();
  usage.set_lost_device_seconds(usage.lost_device_seconds() +
                                DeviceCount(record->job) * counted.attempt_step_seconds() *
                                    static_cast<double>(lost_steps) / static_cast<double>(steps));
}

absl::Status KeepUsage(Transaction& transaction, int64_t day, JobRecord* record) {
  if (!record->job.has_usage()) return absl::OkStatus();
  const v1::Usage used = UsageSince(record->usage.stored(), record->job.usage());
  if (IsZero(used)) return absl::OkStatus();
  RETURN_IF_ERROR(AddUsageRow(
      transaction.db(),
      {.job = JobId(record->job.name()), .day = day, .owner = record->job.owner(), .usage = used}));
  *record->usage.mutable_stored() = record->job.usage();
  return absl::OkStatus();
}

}  // namespace trainerd::server
