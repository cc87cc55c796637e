// SPDX-License-Identifier: Apache-2.0
#include "server/events/decimator.h"

#include <algorithm>
#include <utility>

namespace trainerd::server {
namespace {

int Steps(const v1::Metrics& metrics) { return std::max(1, metrics.merged()); }

EventPtr ToRecord(const EventPtr& first, const v1::Event& merged) {
  auto record = std::make_shared<EventRecord>(*first);
  record->seq = merged.seq();
  record->bytes = std::make_shared<const std::string>(merged.SerializeAsString());
  return record;
}

}  // namespace

void Decimator::Add(const EventPtr& event, absl::Time now, std::vector<EventPtr>* out) {
  if (event->type != v1::Event::kMetrics) {
    Flush(now, out);
    out->push_back(event);
    return;
  }
  auto [it, added] = held_.try_emplace(event->job);
  if (added) {
    it->second.first = event;
    return;
  }
  v1::Event next;
  if (!it->second.parsed) {
    it->second.merged.ParseFromString(*it->second.first->bytes);
    it->second.parsed = true;
  }
  next.ParseFromString(*event->bytes);
  if (next.attempt() != it->second.merged.attempt()) {
    // A later attempt repeats steps. Its metrics are never merged with those of an earlier attempt.
    Flush(now, out);
    held_[event->job].first = event;
    return;
  }
  Merge(std::move(next), &it->second.merged);
}

void Decimator::Merge(v1::Event next, v1::Event* held) {
  const v1::Metrics& before = held->metrics();
  v1::Metrics* metrics = next.mutable_metrics();
  metrics->set_merged(Steps(before) + Steps(*metrics));
  metrics->set_tokens(before.tokens() + metrics->tokens());
  metrics->set_target_tokens(before.target_tokens() + metrics->target_tokens());
  *held = std::move(next);
}

void Decimator::FlushIfDue(absl::Time now, std::vector<EventPtr>* out) {
  if (now >= due()) Flush(now, out);
}

void Decimator::Flush(absl::Time now, std::vector<EventPtr>* out) {
  if (held_.empty()) return;
  const size_t begin = out->size();
  for (auto& [job, held] : held_) {
    out->push_back(held.parsed ? ToRecord(held.first, held.merged) : held.first);
  }
  std::sort(out->begin() + static_cast<std::ptrdiff_t>(begin), out->end(),
            [](const EventPtr& a, const EventPtr& b) { return a->seq < b->seq; });
  held_.clear();
  last_flush_ = now;
}

absl::Time Decimator::due() const {
  return held_.empty() ? absl::InfiniteFuture() : last_flush_ + interval_;
}

}  // namespace trainerd::server
