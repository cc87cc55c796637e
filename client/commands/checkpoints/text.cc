// SPDX-License-Identifier: Apache-2.0
#include "client/commands/checkpoints/text.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/time.h"

namespace trainerd::client {

std::string LabelsText(const v1::Checkpoint& checkpoint) {
  const std::map<std::string, std::string> labels(checkpoint.labels().begin(),
                                                  checkpoint.labels().end());
  return PlainText(absl::StrJoin(labels, ", ", absl::PairFormatter("=")));
}

std::string CheckpointNotes(const v1::Checkpoint& checkpoint, const std::string& resume_point,
                            absl::Time now) {
  if (checkpoint.deleted()) return "deleted";
  std::string notes = checkpoint.verified() ? "verified" : "not verified yet";
  if (!checkpoint.damage().empty()) notes = "damaged: " + PlainText(checkpoint.damage());
  if (checkpoint.name() == resume_point) notes += ", resume point";
  if (checkpoint.best()) notes += ", best";
  if (checkpoint.pinned()) notes += ", pinned";
  if (checkpoint.has_expire_time()) {
    const absl::Duration left = FromProto(checkpoint.expire_time()) - now;
    absl::StrAppend(&notes, left > absl::ZeroDuration()
                                ? absl::StrCat(", expires in ", FormatSpan(left))
                                : ", expired");
  }
  if (checkpoint.superseded()) notes += ", superseded";
  if (checkpoint.adapter()) notes += ", adapter";
  if (!checkpoint.has_optimizer()) notes += ", weights only";
  return notes;
}

std::string MetricText(const v1::Checkpoint& checkpoint, const std::string& metric) {
  for (const v1::Measurement& measurement : checkpoint.metrics()) {
    if (measurement.name() == metric) return FormatNumber(measurement.value());
  }
  return "-";
}

void PrintCheckpointResult(const v1::Checkpoint& checkpoint, const Context& context) {
  if (!IsForPeople(context.form)) return PrintMessage(checkpoint, context.form, context.out());
  const std::string labels = LabelsText(checkpoint);
  context.out() << PlainText(checkpoint.name()) << " "
                << CheckpointNotes(checkpoint, "", absl::Now())
                << (labels.empty() ? "" : absl::StrCat("; labels ", labels)) << "\n";
}

}  // namespace trainerd::client
