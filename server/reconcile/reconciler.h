// SPDX-License-Identifier: Apache-2.0
// Moves every job from where it is to what is wanted: one thread that observes open attempts,
// decides (jobs/decide.h), carries the decision out, and gives free devices to queued jobs. It
// holds no truth of its own: after a restart it begins again from the database and the run
// directories.
#pragma once

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
#include "server/ingest/activity.h"
#include "server/ingest/ingester.h"
#include "server/ledger/disk_worker.h"
#include "server/ledger/housekeeping.h"
#include "server/reconcile/attempt_changes.h"
#include "server/reconcile/decide.h"
#include "server/reconcile/retry_policy.h"
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
    std::function<absl::Time()> clock = [] { return absl::Now(); };
    std::string boot_id;
    // Whether a program of this path can be started; tests without programs replace it.
    std::function<bool(const std::string&)> is_executable;
  };
  struct Parts {  // all outlive the reconciler
    Store& store;
    Executor& executor;
    Ingester& ingester;
    ActivityTable& activity;
    DeviceTable& devices;
    DiskWorker& disk;
    Housekeeping& housekeeping;
  };
  Reconciler(Options options, Parts parts);
  ~Reconciler();

  // Takes up what an earlier daemon left: attempts that still run are reattached, those that ended
  // meanwhile are closed, and processes of ours without a row are ended. Call before Start.
  absl::Status Recover();
  void Start();
  // Ends the thread; attempts go on under their shims.
  void Stop();

  // Looks at this job (jobs/{id}) at once; empty: at the queue. Thread-safe.
  void Poke(const std::string& job);
  // One round, as the thread does it. Answers when the next one is due.
  absl::Time Step();

 private:
  // What this daemon knows about an open attempt beside the database.
  struct Active {
    AttemptRef ref;
    std::optional<Observation> observation;
    absl::Time observed_at = absl::InfinitePast();
    absl::Time unknown_since = absl::InfiniteFuture();
    internal::RequestedAction signalled = internal::REQUESTED_ACTION_UNSPECIFIED;
    absl::Time signalled_at = absl::InfinitePast();
    std::string signal_problem;  // the newest one that was logged
    absl::Time killed_at = absl::InfinitePast();
    int launches = 0;
    bool ingesting = false;  // the ingester reads its spool
    bool ending = false;
    bool scan_started = false;
    int scan_failures = 0;
    absl::Time next_scan = absl::InfinitePast();
    // Shared with the disk worker's task, which may outlive the attempt's entry.
    struct ScanSlot {
      absl::Mutex mutex;
      std::optional<RunScan> scan ABSL_GUARDED_BY(mutex);
    };
    std::shared_ptr<ScanSlot> slot = std::make_shared<ScanSlot>();
    std::optional<RunScan> scan;
    std::string retained_for;  // resume point at which retention ran last
    absl::Time next_disk_check = absl::InfinitePast();
    absl::Time finish_after = absl::InfinitePast();  // closing it failed: the disk may be full
    int finish_failures = 0;

    bool HasEnded() const {
      return observation.has_value() && (observation->kind == Observation::Kind::kExited ||
                                         observation->kind == Observation::Kind::kGone);
    }
    // It has ended, and nothing keeps it from being closed at once.
    bool IsClosing() const { return HasEnded() && scan_failures == 0 && finish_failures == 0; }
    // Often while something is on its way, else only as a check: ends are told by the kernel.
    absl::Duration ObserveEvery() const {
      const bool settled = observation.has_value() &&
                           observation->kind == Observation::Kind::kRunning &&
                           signalled == internal::REQUESTED_ACTION_UNSPECIFIED;
      return settled ? absl::Seconds(1) : absl::Milliseconds(100);
    }
  };

  void Loop();
  bool HasPokes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !pokes_.empty() || stopping_;
  }
  std::set<std::string> TakePokes() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status Attach(const v1::Attempt& attempt, const std::string& run_dir);
  void KillOrphans();

  // reconciler_attempt.cc: one open attempt.
  void StepAttempt(const std::string& job_id, Active& active, bool poked, absl::Time now);
  void TidyUp(const JobRecord& record, Active& active, absl::Time now);
  void Ingest(Active& active);
  void Observe(Active& active, bool poked, absl::Time now);
  DecideInput InputFor(const JobRecord& record, const Active& active, absl::Time now) const;
  void CarryOut(const JobRecord& record, const Decision& decision, Active& active, absl::Time now);
  void ShowConditions(const JobRecord& record, const Decision& decision);
  void StopForLimit(const std::string& job_id);
  void BeginScan(const JobRecord& record, Active& active);
  void TakeScan(const JobRecord& record, Active& active, absl::Time now);
  bool Finish(const std::string& job_id, Active& active);
  void Relaunch(const JobRecord& record, Active& active);

  // reconciler_queue.cc: queued jobs.
  void StepQueue(absl::Time now);
  bool CheckPrograms(absl::Time now);
  void MarkUnreachable(const std::string& why);
  void ClearUnreachable();
  void FailUnknownDevices();
  void StartJob(const std::string& job_id, const std::vector<std::string>& devices);
  void ReportUnreadable(const std::string& job_id, const absl::Status& why);
  struct ResumeChoice {
    std::optional<v1::Checkpoint> point;  // nullopt = the beginning
    bool lost = false;                    // there were checkpoints, and none can be read back
    absl::Status unreadable;              // not OK: what is there cannot be told now
  };
  // Errors: of the database.
  absl::StatusOr<ResumeChoice> ChooseResumePoint(const std::string& job_id);
  void TellFallback(const std::string& job_id, const std::vector<std::string>& devices);
  void ClearBackoff(absl::Time now);

  const Options options_;
  Store& store_;
  Executor& executor_;
  Ingester& ingester_;
  ActivityTable& activity_;
  DeviceTable& devices_;
  DiskWorker& disk_;
  Housekeeping& housekeeping_;

  // Reconciler's thread only (and Recover before it).
  std::map<std::string, Active> active_;  // by job id
  absl::BitGen random_;
  bool devices_checked_ = false;
  // Why nothing can be started; not empty at first, so that what an earlier daemon marked is
  // cleared.
  std::string unreachable_why_ = "the daemon has just started";
  std::set<std::string> unreadable_;  // jobs whose checkpoints cannot be read, and that was told
  absl::Time next_queue_check_ = absl::InfinitePast();
  absl::Time next_expiry_ = absl::InfinitePast();
  absl::Time next_retry_ = absl::InfinitePast();  // of housekeeping

  absl::Mutex mutex_;
  std::set<std::string> pokes_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
