// SPDX-License-Identifier: Apache-2.0
// The revisions that two programs of possibly different builds agree on.
#pragma once

namespace trainerd {

// Revision of the public API (ServerInfo.api_revision). trainctl refuses a daemon of an older
// revision. Raise it once with each set of additions to the API.
//   2  Job.devices, Attempt.devices, Checkpoint.tokens; the words of a job file are enums
//   3  Job.alerts, Checkpoint.damage
//   4  SubmitJobRequest.base and Job.base (were `from`), StateChanged.from_state and to_state (were
//      `from` and `to`); the limits and conventions at the head of trainer.proto; Job.cursor in
//      each answer, ServerInfo.addresses; Job.WaitReason DISK; DataReport.disk
//   5  the methods (lora, optimizer.type muon and adamw_8bit, …), Metrics.learning_rates,
//      Checkpoint.adapter
//   6  the keys suspended, not_before and depends_on of the job file, Job.WaitReason NOT_BEFORE and
//      DEPENDENCY; UpdateJob, Event.job_updated, ExplainJob
//   7  filters and order of ListJobs, StreamStatusRequest.label_selector, ListEvents, QueryMetrics;
//      notify of the job file, ListNotifications, RetryNotification; DownloadCheckpoint, Files;
//      Checkpoint.metrics, labels, pinned, expire_time, best and etag, Job.best_checkpoint;
//      evaluation.best and checkpoint.{keep_every_steps, keep_best, max_bytes, ttl};
//      RequestCheckpoint, UpdateCheckpoint, VerifyCheckpoint, CollectGarbage,
//      ResumeRequest.from_checkpoint;
//      service Evaluations, evaluation.remote of the job file, Event.remote_eval;
//      Job.owner, Job.usage, QueryUsage, quotas and scheduling of trainerd.yaml, Job.WaitReason
//      QUOTA, limits.max_attempt_time, PauseRequest.grace, StopRequest.grace
//   8  Drain, Undrain, Job.WaitReason DRAIN, ServerInfo.active_attempts; tokens and roles,
//      ServerInfo.principal and role; ListAuditEntries; ServerInfo.conditions, notices of the
//      daemon itself
inline constexpr int kApiRevision = 8;

// Versions of the protocol between daemon and shim that this build supports. A daemon must work
// with the shims of the two releases before it.
inline constexpr int kProtocolMin = 1;
inline constexpr int kProtocolMax = 1;

}  // namespace trainerd
