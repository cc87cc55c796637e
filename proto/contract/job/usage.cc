// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/usage.h"

namespace trainerd {
namespace {

// sum += sign × part
void Accumulate(const v1::Usage& part, int sign, v1::Usage* sum) {
  sum->set_waiting_seconds(sum->waiting_seconds() + sign * part.waiting_seconds());
  for (const auto& [stage, seconds] : part.stage_seconds())
    (*sum->mutable_stage_seconds())[stage] += sign * seconds;
  sum->set_checkpoint_seconds(sum->checkpoint_seconds() + sign * part.checkpoint_seconds());
  sum->set_device_seconds(sum->device_seconds() + sign * part.device_seconds());
  sum->set_lost_device_seconds(sum->lost_device_seconds() + sign * part.lost_device_seconds());
  sum->set_tokens(sum->tokens() + sign * part.tokens());
}

}  // namespace

void AddUsage(const v1::Usage& part, v1::Usage* sum) { Accumulate(part, 1, sum); }

v1::Usage UsageSince(const v1::Usage& before, const v1::Usage& now) {
  v1::Usage usage = now;
  Accumulate(before, -1, &usage);
  auto& stages = *usage.mutable_stage_seconds();
  for (auto it = stages.begin(); it != stages.end();)
    it = it->second == 0 ? stages.erase(it) : std::next(it);
  return usage;
}

bool IsZero(const v1::Usage& usage) {
  return usage.waiting_seconds() == 0 && usage.stage_seconds().empty() &&
         usage.checkpoint_seconds() == 0 && usage.device_seconds() == 0 &&
         usage.lost_device_seconds() == 0 && usage.tokens() == 0;
}

}  // namespace trainerd
