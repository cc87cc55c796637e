// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/refusal_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {

RefusalLog::~RefusalLog() {
  std::vector<AuditRow> rows;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = minutes_.begin(); it != minutes_.end();) it = End(it, &rows);
  }
  Write(rows);
}

RefusalLog::Minutes::iterator RefusalLog::End(Minutes::iterator minute,
                                              std::vector<AuditRow>* rows) {
  if (const int64_t counted = minute->second.counted; counted > 0) {
    rows->push_back({.method = kOtherRefusals,
                     .resource = Counted(counted, "more refused call"),
                     .principal = minute->first,
                     .peer = "",
                     .code = static_cast<int>(absl::StatusCode::kPermissionDenied)});
  }
  return minutes_.erase(minute);
}

void RefusalLog::Record(AuditRow row) {
  const absl::Time now = store_.SteadyNow();
  std::vector<AuditRow> rows;
  {
    absl::MutexLock lock(&mutex_);
    auto found = minutes_.find(row.principal);
    if (found != minutes_.end() && now >= found->second.begin + absl::Minutes(1)) {
      End(found, &rows);
      found = minutes_.end();
    }
    if (found == minutes_.end()) found = minutes_.insert({row.principal, {.begin = now}}).first;
    Minute& minute = found->second;
    if (minute.recorded < kMaxRefusalsPerMinute) {
      ++minute.recorded;
      rows.push_back(std::move(row));
    } else {
      ++minute.counted;
    }
  }
  Write(rows);
}

void RefusalLog::Flush() {
  const absl::Time over = store_.SteadyNow() - absl::Minutes(1);
  std::vector<AuditRow> rows;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = minutes_.begin(); it != minutes_.end();)
      it = it->second.begin <= over ? End(it, &rows) : std::next(it);
  }
  Write(rows);
}

void RefusalLog::Write(const std::vector<AuditRow>& rows) {
  if (rows.empty()) return;
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    for (const AuditRow& row : rows) RETURN_IF_ERROR(StoreAudit(t.db(), row, t.now()));
    return absl::OkStatus();
  });
  if (!stored.ok())
    spdlog::warn("cannot record refused calls in the audit log: {}", std::string(stored.message()));
}

}  // namespace trainerd::server
