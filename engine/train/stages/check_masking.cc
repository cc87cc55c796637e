// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "engine/data/masking_check.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status CheckMasking(AttemptContext& context) {
  ASSIGN_OR_RETURN(const v1::MaskingReport report,
                   CheckMasking(context.data, context.config, context.text));
  v1::Event event;
  *event.mutable_masking_report() = report;
  context.events.Emit(std::move(event));
  return MaskingStatus(report);
}

}  // namespace trainerd::engine
