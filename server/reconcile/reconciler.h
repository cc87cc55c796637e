// SPDX-License-Identifier: Apache-2.0
// Moves every job from its actual state to its desired state. One thread observes the open
// attempts, decides what to do (reconcile/decide.h), does it, and gives free devices to queued
// jobs. It keeps nothing that the database and the run directories do not have: a new daemon
// continues from those.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "proto/base/process/thread_pool.h"
#include "proto/base/process/wake_up.h"
#include "server/ingest/activity.h"
#include "server/ingest/ingester.h"
#include "server/ledger/base_checkpoint.h"
#include "server/ledger/disk/disk_worker.h"
#include "server/ledger/drain.h"
#include "server/ledger/housekeeping.h"
#include "server/reconcile/attempt_changes.h"
#include "server/reconcile/decide.h"
#include "server/reconcile/retry_policy.h"
#include "server/reconcile/scheduler.h"
#include "server/reconcile/tracked_attempt.h"
#include "server/runs/attempt_probe.h"
#include "server/runs/device_table.h"
#include "server/runs/executor.h"
#include "server/store/store.h"

namespace trainerd::server {

class Reconciler {
 public:
  struct Options {
    LaunchDefaults launch;
    std::string shim_path;
    std::string runs_dir;
    BackoffOptions backoff;
    QueueRules rules = {};
    // Store::SteadyNow.
    std::function<absl::Time()> clock;
    std::string boot_id;
    // Whether a program of this path can be started; tests without programs replace it.
    std::function<bool(const std::string&)> is_executable;
    // Requests the state of the devices, after an attempt that ended because of one.
    std::function<void()> query_devices = [] {};
    // Free bytes of the file system that holds a path.
    std::function<absl::StatusOr<int64_t>(const std::string&)> free_bytes = FreeBytes;
    // Runs a call that can wait for a shim. Empty: on threads of the reconciler.
    AttemptProbe::RunCall run_call;
  };
  // All outlive the reconciler.
  struct Parts {
    Store& store;
    Executor& executor;
    Ingester& ingester;
    ActivityTable& activity;
    DeviceTable& devices;
    DiskWorker& disk;
    Housekeeping& housekeeping;
    const DaemonDrain& drain;
  };
  Reconciler(Options options, Parts parts);
  ~Reconciler();

  // Continues what an earlier daemon began: reattaches the attempts that still run, closes those
  // that have ended, and kills orphans. Call before Start.
  absl::Status Recover();
  void Start();
  // Ends the threads. Attempts keep running under their shims.
  void Stop();

  // Requests a step of this job (jobs/{id}) at once; empty: of the queue. Thread-safe.
  void Poke(const std::string& job);
  // One round of the thread. Returns the time when the next one is due.
  absl::Time Step();
  // Grows with each round of the thread. Thread-safe.
  int64_t rounds() const { return rounds_; }

 private:
  void Loop();
  std::set<std::string> TakePokes() ABSL_LOCKS_EXCLUDED(mutex_);

  void Attach(const v1::Attempt& attempt, const std::string& run_dir);
  absl::Status LimitWaits();
  void KillOrphans();
  std::shared_ptr<AttemptProbe> MakeProbe(const AttemptRef& ref);

  // reconciler_attempt.cc: one open attempt. The phases' steps return with the attempt in the next
  // phase when they are done.
  void StepAttempt(const std::string& job_id, TrackedAttempt& attempt, bool poked, absl::Time now);
  void Maintain(const JobRecord& record, TrackedAttempt& attempt, absl::Time now);
  void Ingest(TrackedAttempt& attempt);
  void StepRunning(const JobRecord& record, TrackedAttempt& attempt, bool poked, absl::Time now);
  void Observe(const AttemptRef& ref, Running& running, bool poked, absl::Time now);
  DecideInput InputFor(const JobRecord& record, const Running& running, absl::Time now) const;
  void ShowConditions(const JobRecord& record, const Decision& decision);
  void StopForLimit(const std::string& job_id);
  void EndTimeSliceOf(const std::string& job_id);
  void Kill(const AttemptRef& ref, Running& running, absl::Time now);
  void Relaunch(const JobRecord& record, TrackedAttempt& attempt);
  void StepScanning(const JobRecord& record, TrackedAttempt& attempt, absl::Time now);
  void BeginScan(const JobRecord& record, const AttemptRef& ref, Scanning& scanning);
  // True when the attempt is closed and no longer tracked.
  bool StepClosing(const std::string& job_id, TrackedAttempt& attempt, absl::Time now);
  void Forget(const std::string& job_id, const AttemptRef& ref);
  bool IsFromOtherBoot(const Observation& observation) const;

  // reconciler_drain.cc: Admin.Drain.
  // Whether it changed the job; the next round, which is due at once, continues.
  bool DrainAttempt(const JobRecord& record, absl::Time now);
  // Gives the jobs that wait for a device the reason DRAIN, some in each round.
  void ShowDrain();
  void ClearDrain();

  // reconciler_schedule.cc: which job gets which device.
  void StepQueue(absl::Time now);
  absl::Status ReadQueue(Connection& db, ScheduleInput* input);
  void PreemptFor(const Preemption& preemption);
  // Gives the first jobs that a quota keeps waiting this reason, and takes it from the others.
  void ShowQuotas(const SchedulePlan& plan);

  // reconciler_queue.cc: queued jobs.
  bool CheckPrograms(absl::Time now);
  void MarkUnreachable(const std::string& why);
  void ClearUnreachable();
  void FailUnknownDevices();
  // Finds the checkpoint that a job of init_from and depends_on starts from. Whether the job can
  // start; it is FAILED, or retried, otherwise.
  bool ResolveStart(const std::string& job_id);
  bool StoreStart(const std::string& job_id, const PreparedJob& start);
  void StartJob(const std::string& job_id, const std::vector<std::string>& devices);
  void ReportUnreadable(const std::string& job_id, const absl::Status& why);
  // Of a job that is to start.
  struct SpaceNeed {
    // 0: not known, before the first attempt has found out.
    int64_t bytes = 0;
    // As it is shown to users.
    std::string why = "";
  };
  static SpaceNeed SpaceToStart(const std::optional<v1::Checkpoint>& resume,
                                const internal::JobLedger& ledger);
  struct ResumeChoice {
    // nullopt: from the beginning.
    std::optional<v1::Checkpoint> point;
    // The job has checkpoints, and none of them can be resumed from.
    bool lost = false;
    // The checkpoint that Resume named; empty: none. Without a `point` it cannot be resumed from.
    std::string resume_from = "";
    // What must be free in the run directory before the job starts.
    SpaceNeed space = {};
    // Not OK: a checkpoint cannot be read at present, so nothing is decided.
    absl::Status unreadable;
  };
  // Errors: of the database.
  absl::StatusOr<ResumeChoice> ChooseResumePoint(const std::string& job_id);
  // Holds a job that cannot resume from the checkpoint that Resume named.
  void HoldWithoutStart(const std::string& job_id, const std::string& resume_from);
  void ReportFallback(const std::string& job_id, const std::vector<std::string>& devices);
  void ClearBackoff(absl::Time now);
  // Carries the news about jobs that ended or got a checkpoint to those that wait for them.
  void EndWaitsForJobs(absl::Time now);
  // Returns jobs whose config.not_before has been reached to the queue, and moves the next check of
  // the queue to the next of these times.
  void EndWaitsForTime(absl::Time now);
  // What is missing if too little space is free; nullopt if there is enough.
  std::optional<std::string> MissingSpace(const SpaceNeed& need) const;
  // Whether a job has to wait for space; it is marked then.
  bool WaitsForSpace(const std::string& job_id, const SpaceNeed& need);
  // Returns jobs for which there is space now to the queue.
  void EndWaitsForSpace(absl::Time now);
  // Ends evaluations whose deadline has passed, and so the wait of jobs that required them. Returns
  // when to check again.
  absl::Time EndEvaluations(absl::Time now);

  const Options options_;
  Store& store_;
  Executor& executor_;
  Ingester& ingester_;
  ActivityTable& activity_;
  DeviceTable& devices_;
  DiskWorker& disk_;
  Housekeeping& housekeeping_;
  const DaemonDrain& drain_;

  // Reconciler's thread only (and Recover before it).
  std::map<std::string, TrackedAttempt> attempts_;  // by job id
  absl::BitGen random_;
  bool devices_checked_ = false;
  // No job has the wait reason QUOTA, unless there are quotas. False at first: an earlier daemon
  // may have had others.
  bool quota_marks_cleared_ = false;
  // The same for DRAIN.
  bool drain_marks_cleared_ = false;
  // Why no job can start. Not empty at first, so that the marks of an earlier daemon are cleared.
  std::string unreachable_why_ = "the daemon has just started";
  // Jobs whose unreadable checkpoints were reported.
  std::set<std::string> unreadable_;
  absl::Time next_queue_check_ = absl::InfinitePast();
  absl::Time next_expiry_ = absl::InfinitePast();
  absl::Time next_retry_ = absl::InfinitePast();  // of housekeeping
  absl::Time next_space_check_ = absl::InfinitePast();
  absl::Time next_evaluation_check_ = absl::InfinitePast();

  std::atomic<int64_t> rounds_{0};
  absl::Mutex mutex_;
  std::set<std::string> pokes_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
  ThreadPool call_threads_;
  const AttemptProbe::RunCall run_call_;
};

}  // namespace trainerd::server
