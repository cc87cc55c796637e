// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/downloads_in_use.h"

#include <vector>

#include "proto/base/status_macros.h"
#include "server/store/rows/retention_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {

absl::Status DownloadsInUse::Load() {
  ASSIGN_OR_RETURN(const std::set<std::string> names,
                   store_.Read([](Connection& db) { return ListDownloads(db); }));
  const absl::Time now = clock_();
  absl::MutexLock lock(&mutex_);
  for (const std::string& name : names) last_reads_[name] = now;
  return absl::OkStatus();
}

void DownloadsInUse::Touch(const std::string& checkpoint) {
  const absl::Time now = clock_();
  std::vector<std::string> expired;
  {
    absl::MutexLock lock(&mutex_);
    // A new name is rare, so the old ones are dropped then.
    const bool added = last_reads_.insert_or_assign(checkpoint, now).second;
    if (!added) return;
    for (const auto& [name, last] : last_reads_) {
      if (now - last > kKeepDownloaded) expired.push_back(name);
    }
    for (const std::string& name : expired) last_reads_.erase(name);
  }
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    for (const std::string& name : expired) RETURN_IF_ERROR(RemoveDownload(t.db(), name));
    return AddDownload(t.db(), checkpoint);
  });
  if (!stored.ok()) {
    spdlog::warn("a restart of the daemon would forget that {} is downloaded: {}", checkpoint,
                 std::string(stored.message()));
  }
}

std::set<std::string> DownloadsInUse::Names() const {
  const absl::Time now = clock_();
  std::set<std::string> names;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, last] : last_reads_) {
    if (now - last <= kKeepDownloaded) names.insert(name);
  }
  return names;
}

}  // namespace trainerd::server
