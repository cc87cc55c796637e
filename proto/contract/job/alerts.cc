// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/alerts.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace trainerd {
namespace {

using Alerts = google::protobuf::RepeatedPtrField<v1::Alert>;

// engine/monitor clears it without an event, because a new attempt measures its own speed.
constexpr char kSpeedAlert[] = "throughput_drop";

void Clear(int64_t step, v1::Alert* alert) {
  alert->set_active(false);
  alert->set_cleared_step(step);
}

// The order of Job.alerts.
bool IsBefore(const v1::Alert& a, const v1::Alert& b) {
  if (a.active() != b.active()) return a.active();
  if (a.active() && a.severity() != b.severity()) return a.severity() > b.severity();
  return a.active() ? a.step() > b.step() : a.cleared_step() > b.cleared_step();
}

void SortAndCut(Alerts* alerts) {
  std::stable_sort(alerts->begin(), alerts->end(), IsBefore);
  if (alerts->size() > kMaxJobAlerts)
    alerts->DeleteSubrange(kMaxJobAlerts, alerts->size() - kMaxJobAlerts);
}

}  // namespace

void ApplyAlert(const v1::Alert& alert, v1::Job* job) {
  Alerts* alerts = job->mutable_alerts();
  auto it = std::find_if(alerts->begin(), alerts->end(),
                         [&](const v1::Alert& other) { return other.type() == alert.type(); });
  if (alert.active()) {
    v1::Alert* entry = it == alerts->end() ? alerts->Add() : &*it;
    *entry = alert;
    entry->clear_cleared_step();
  } else if (it != alerts->end() && it->active()) {
    Clear(alert.step(), &*it);
  }
  SortAndCut(alerts);
}

void RewindAlerts(int64_t step, v1::Job* job) {
  Alerts* alerts = job->mutable_alerts();
  alerts->erase(std::remove_if(alerts->begin(), alerts->end(),
                               [&](const v1::Alert& alert) { return alert.step() > step; }),
                alerts->end());
  for (v1::Alert& alert : *alerts) {
    if (!alert.active() && alert.cleared_step() > step) {
      alert.set_active(true);
      alert.clear_cleared_step();
    }
    if (alert.active() && alert.type() == kSpeedAlert) Clear(step, &alert);
  }
  SortAndCut(alerts);
}

std::string AlertText(const v1::Alert& alert) {
  std::string text = alert.type();
  if (alert.severity() != v1::Alert::SEVERITY_UNSPECIFIED)
    absl::StrAppend(&text, " (", v1::Alert::Severity_Name(alert.severity()), ")");
  if (alert.active()) {
    absl::StrAppend(&text, " active since step ", alert.step());
  } else {
    absl::StrAppend(&text, " from step ", alert.step(), " to ", alert.cleared_step());
  }
  if (!alert.message().empty()) absl::StrAppend(&text, ": ", alert.message());
  return text;
}

std::string ActiveCriticalAlerts(const v1::Job& job) {
  std::vector<std::string> types;
  for (const v1::Alert& alert : job.alerts()) {
    if (alert.active() && alert.severity() == v1::Alert::CRITICAL) types.push_back(alert.type());
  }
  return absl::StrJoin(types, ", ");
}

}  // namespace trainerd
