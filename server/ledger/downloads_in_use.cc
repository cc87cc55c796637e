// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/downloads_in_use.h"

namespace trainerd::server {

void DownloadsInUse::Touch(const std::string& checkpoint) {
  const absl::Time now = clock_();
  absl::MutexLock lock(&mutex_);
  // A new name is rare, so the old ones are dropped then.
  const bool added = last_reads_.insert_or_assign(checkpoint, now).second;
  if (!added) return;
  std::erase_if(last_reads_,
                [&](const auto& entry) { return now - entry.second > kKeepDownloaded; });
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
