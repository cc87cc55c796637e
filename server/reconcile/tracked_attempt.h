// SPDX-License-Identifier: Apache-2.0
// An open attempt as this daemon tracks it, in one of five phases:
//
//   Running   the attempt is observed and receives requested actions
//   Ending    its end was observed; the ingester does not know yet that the spool is complete
//   Draining  the ingester reads the rest of the spool
//   Scanning  the disk worker reads the checkpoints and the final model back
//   Closing   the transaction that closes the attempt runs, repeated until it succeeds
//
// Phases follow each other in this order only. Nothing here is stored: a new daemon starts every
// open attempt at Running and observes the same end again. No I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/ledger/disk/run_scan.h"
#include "server/runs/attempt_probe.h"
#include "server/runs/executor.h"

namespace trainerd::server {

struct Running {
  // How often the attempt is observed: every second while it runs and no action was delivered,
  // because file notifications report its end; ten times per second otherwise.
  absl::Duration ObserveEvery() const;
  // True when the observation shows that the shim has stopped answering.
  bool Record(Observation newest, absl::Time now);
  // True when the delivery failed with another error than the one before.
  bool Record(const AttemptProbe::Delivery& delivery, absl::Time now);

  std::shared_ptr<AttemptProbe> probe;
  // None before the first observation after the launch or the start of the daemon.
  std::optional<Observation> observation;
  absl::Time observation_requested_at = absl::InfinitePast();
  // Since when every observation was kUnknown.
  absl::Time unknown_since = absl::InfiniteFuture();
  // The newest action that the shim has received, CHECKPOINT excepted.
  internal::RequestedAction delivered = internal::REQUESTED_ACTION_UNSPECIFIED;
  absl::Time delivered_at = absl::InfinitePast();
  // Number of the RequestCheckpoint calls whose delivery was requested last (0: none, or it
  // failed), and of those that the shim has received.
  int64_t checkpoint_in_delivery = 0;
  int64_t checkpoint_delivered = 0;
  std::string delivery_error;
  absl::Time killed_at = absl::InfinitePast();
  // By this daemon.
  int launches = 0;
};

struct Ending {
  Observation end;
};

struct Draining {
  Observation end;
};

struct Scanning {
  // Shared with the disk worker's task, which can outlive the attempt.
  struct Slot {
    absl::Mutex mutex;
    std::optional<RunScan> scan ABSL_GUARDED_BY(mutex);
  };
  Observation end;
  // Of the scan in progress; null when there is none.
  std::shared_ptr<Slot> slot;
  int failures = 0;
  absl::Time next_scan = absl::InfinitePast();
};

struct Closing {
  Observation end;
  RunScan scan;
  // Scans failed before the one that succeeded.
  bool had_read_errors = false;
  int failures = 0;
  absl::Time next_try = absl::InfinitePast();
};

class TrackedAttempt {
 public:
  TrackedAttempt(AttemptRef ref, std::shared_ptr<AttemptProbe> probe, int launches);

  const AttemptRef& ref() const { return ref_; }
  // The data of the phase `Phase`; nullptr in another phase.
  template <typename Phase>
  Phase* In() {
    return std::get_if<Phase>(&phase_);
  }

  // Running → Running. Forgets the observation, which was made before the launch. `probe` is a new
  // one, so that an observation in progress is not taken for one of the new launch.
  void RecordLaunch(std::shared_ptr<AttemptProbe> probe);
  // Running → Ending: the newest observation is the end.
  void BeginEnding();
  // Ending → Draining
  void BeginDraining();
  // Draining → Scanning
  void BeginScanning();
  // Scanning → Closing, or Scanning → Scanning after a failed scan, which is due again after 2 s to
  // 60 s. The end of a job that is `discarded` does not depend on its checkpoints, so a failed scan
  // counts as one that found nothing.
  void TakeScan(RunScan scan, bool discarded, absl::Time now);
  // Closing → Closing: the transaction failed; it is due again after 2 s.
  void RecordCloseFailure(absl::Time now);

  // Whether the attempt has ended, or has not been observed yet, and no error delays its end: the
  // start of the daemon waits for such attempts.
  bool MayEndSoon() const;
  // How often the attempt needs a step.
  absl::Duration StepEvery() const;

  // Upkeep, the same in all phases.
  // The ingester reads the spool.
  bool ingesting = false;
  // Resume point at which retention ran last.
  std::string retained_for;
  absl::Time next_disk_check = absl::InfinitePast();

 private:
  // The data of the phase, which must be `Phase`.
  template <typename Phase>
  Phase Leave();

  AttemptRef ref_;
  std::variant<Running, Ending, Draining, Scanning, Closing> phase_;
};

}  // namespace trainerd::server
