// SPDX-License-Identifier: Apache-2.0
#include "server/events/job_labels.h"

#include <algorithm>
#include <utility>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::server {
namespace {

// Then all are forgotten, and those that are met again are read again.
constexpr size_t kMaxEntries = 65'536;

}  // namespace

void JobLabels::Note(const EventRecord& record) {
  if ((record.flags & (kLabelsChanged | kJobDeleted)) == 0) return;
  absl::MutexLock lock(&mutex_);
  changed_seq_ = record.seq;
  auto it = entries_.find(record.job);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  // The labels of a deleted job still hold for its last event.
  const int64_t end = (record.flags & kJobDeleted) != 0 ? record.seq + 1 : record.seq;
  if (end > entry.read_at) entry.end_seq = std::min(entry.end_seq, end);
}

JobLabels::Match JobLabels::MatchesAt(const LabelSelector& selector, const std::string& job,
                                      int64_t seq) const {
  absl::ReaderMutexLock lock(&mutex_);
  auto it = entries_.find(job);
  if (it == entries_.end() || seq >= it->second.end_seq) return Match::kUnknown;
  return selector.Matches(it->second.history.At(seq)) ? Match::kYes : Match::kNo;
}

JobLabels::Match JobLabels::Matches(const LabelSelector& selector,
                                    const EventRecord& record) const {
  const Match after = MatchesAfter(selector, record);
  if (after != Match::kNo || (record.flags & kLabelsChanged) == 0) return after;
  return MatchesAt(selector, record.job, record.seq - 1);
}

JobLabels::Match JobLabels::MatchesAfter(const LabelSelector& selector,
                                         const EventRecord& record) const {
  return MatchesAt(selector, record.job, record.seq);
}

absl::Status JobLabels::Load(const std::vector<std::string>& jobs) {
  if (jobs.empty()) return absl::OkStatus();
  std::vector<std::string> ids;
  for (const std::string& job : jobs) ids.push_back(JobId(job));
  ASSIGN_OR_RETURN(Answer answer, read_(ids));
  absl::MutexLock lock(&mutex_);
  // A change after this read was noted before its job was known here: the caller comes again.
  if (answer.last_seq < changed_seq_) return absl::OkStatus();
  if (entries_.size() + jobs.size() > kMaxEntries) entries_.clear();
  for (size_t i = 0; i < jobs.size(); ++i) {
    entries_[jobs[i]] = {.history = std::move(answer.histories[i]), .read_at = answer.last_seq};
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
