// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/retention.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "proto/base/time.h"

namespace trainerd::server {
namespace {

// Names of those that keep_last keeps: the newest verified ones, and unverified ones that no
// verified one has followed yet.
std::set<std::string> KeptAsLast(const RetentionInput& input) {
  std::set<std::string> names;
  int verified = 0;
  for (const CheckpointRow& row : input.rows) {
    const v1::Checkpoint& checkpoint = row.checkpoint;
    if (checkpoint.deleted()) continue;
    const bool kept = checkpoint.verified() ? verified < input.rules.keep_last() : verified == 0;
    if (checkpoint.verified()) ++verified;
    if (kept) names.insert(checkpoint.name());
  }
  return names;
}

// Names of the first verified checkpoint at or after each multiple of keep_every_steps, of several
// at one step the one on the lineage.
std::set<std::string> KeptByInterval(const RetentionInput& input) {
  std::set<std::string> names;
  const int64_t every = input.rules.keep_every_steps();
  if (every <= 0) return names;
  // By multiple: step, whether it is off the lineage, order of publication.
  std::map<int64_t, std::tuple<int64_t, bool, int64_t, std::string>> first;
  for (const CheckpointRow& row : input.rows) {
    const v1::Checkpoint& checkpoint = row.checkpoint;
    if (checkpoint.deleted() || !checkpoint.verified() || checkpoint.step() < every) continue;
    std::tuple candidate(checkpoint.step(), checkpoint.superseded(), row.number, checkpoint.name());
    const auto [entry, added] = first.try_emplace(checkpoint.step() / every, candidate);
    if (!added) entry->second = std::min(entry->second, candidate);
  }
  for (const auto& [multiple, entry] : first) names.insert(std::get<3>(entry));
  return names;
}

// Names that nothing removes, with the reason.
std::map<std::string, RetentionReason> Protected(const RetentionInput& input) {
  std::map<std::string, RetentionReason> names;
  if (!input.resume_point.empty()) names.emplace(input.resume_point, RetentionReason::kNewest);
  for (const CheckpointRow& row : input.rows) {
    if (!row.checkpoint.verified() || row.checkpoint.deleted()) continue;
    names.emplace(row.checkpoint.name(), RetentionReason::kNewest);
    break;
  }
  if (!input.best.empty()) names.emplace(input.best, RetentionReason::kBest);
  const auto count = std::min<size_t>(input.rules.keep_best(), input.ranked.size());
  for (size_t i = 0; i < count; ++i) names.emplace(input.ranked[i], RetentionReason::kBest);
  for (const CheckpointRow& row : input.rows) {
    if (row.checkpoint.pinned()) names.emplace(row.checkpoint.name(), RetentionReason::kPinned);
  }
  for (const std::string& name : input.in_use) names.emplace(name, RetentionReason::kInUse);
  return names;
}

// Removes the oldest of those that the rules alone keep, until all fit.
void ApplyMaxBytes(int64_t max_bytes, std::vector<RetentionItem>* items) {
  if (max_bytes <= 0) return;
  int64_t bytes = 0;
  for (const RetentionItem& item : *items) {
    if (!item.removed) bytes += item.checkpoint.size_bytes();
  }
  for (auto item = items->rbegin(); item != items->rend() && bytes > max_bytes; ++item) {
    if (item->removed || item->reason != RetentionReason::kRetention) continue;
    item->removed = true;
    bytes -= item->checkpoint.size_bytes();
  }
}

}  // namespace

const char* RetentionReasonName(RetentionReason reason) {
  switch (reason) {
    case RetentionReason::kNewest:
      return "NEWEST";
    case RetentionReason::kBest:
      return "BEST";
    case RetentionReason::kPinned:
      return "PINNED";
    case RetentionReason::kInUse:
      return "IN_USE";
    case RetentionReason::kRetention:
      return "RETENTION";
    case RetentionReason::kExpired:
      return "EXPIRED";
  }
  return "";
}

std::vector<RetentionItem> DecideRetention(const RetentionInput& input) {
  const std::map<std::string, RetentionReason> is_protected = Protected(input);
  const std::set<std::string> last = KeptAsLast(input), interval = KeptByInterval(input);
  std::vector<RetentionItem> items;
  for (const CheckpointRow& row : input.rows) {
    const v1::Checkpoint& checkpoint = row.checkpoint;
    if (checkpoint.deleted()) continue;
    RetentionItem& item = items.emplace_back(RetentionItem{.checkpoint = checkpoint});
    if (const auto found = is_protected.find(checkpoint.name()); found != is_protected.end()) {
      item.reason = found->second;
    } else if (NextExpiry(checkpoint, input.rules, input.ended) <= input.now) {
      item.removed = true;
      item.reason = RetentionReason::kExpired;
    } else {
      item.removed = last.count(checkpoint.name()) == 0 && interval.count(checkpoint.name()) == 0;
    }
  }
  ApplyMaxBytes(input.rules.max_bytes(), &items);
  return items;
}

absl::Time NextExpiry(const v1::Checkpoint& checkpoint, const v1::CheckpointConfig& rules,
                      bool ended) {
  absl::Time expiry = absl::InfiniteFuture();
  if (checkpoint.has_expire_time()) expiry = FromProto(checkpoint.expire_time());
  const absl::Duration ttl = FromProto(rules.ttl());
  if (ended && ttl > absl::ZeroDuration() && checkpoint.has_create_time())
    expiry = std::min(expiry, FromProto(checkpoint.create_time()) + ttl);
  return expiry;
}

}  // namespace trainerd::server
