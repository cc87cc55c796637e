// SPDX-License-Identifier: Apache-2.0
// The refused calls in the audit log. A caller that is refused again and again must not fill the
// disk: of each principal kMaxRefusalsPerMinute are recorded, and the rest as one entry with their
// number.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/store/rows/access/audit_rows.h"
#include "server/store/store.h"

namespace trainerd::server {

// The minute begins with the first refusal.
inline constexpr int kMaxRefusalsPerMinute = 60;
// AuditEntry.method of the entry that has the number of the others.
inline constexpr char kOtherRefusals[] = "*";

// Thread-safety: all methods may be called from any thread.
class RefusalLog {
 public:
  // `store` outlives the object.
  explicit RefusalLog(Store& store) : store_(store) {}
  // Stores all numbers.
  ~RefusalLog();

  // Stores the row, or counts it. An error of the database is logged: the call is refused anyway.
  void Record(AuditRow row);
  // Stores the numbers of the minutes that are over.
  void Flush();

 private:
  struct Minute {
    absl::Time begin;
    int recorded = 0;
    int64_t counted = 0;
  };
  using Minutes = std::map<std::string, Minute>;
  // Removes a minute, and appends its row to `rows` if it counted.
  Minutes::iterator End(Minutes::iterator minute, std::vector<AuditRow>* rows)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write(const std::vector<AuditRow>& rows) ABSL_LOCKS_EXCLUDED(mutex_);

  Store& store_;
  absl::Mutex mutex_;
  // By principal.
  Minutes minutes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
