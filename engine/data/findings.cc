// SPDX-License-Identifier: Apache-2.0
#include "engine/data/findings.h"

namespace trainerd::engine {

void Findings::Add(const std::string& code, bool error, const std::string& place,
                   const std::string& message) {
  v1::DataReport::Finding* finding = nullptr;
  for (auto& known : findings_) {
    if (known.code() == code && known.error() == error) finding = &known;
  }
  if (finding == nullptr) {
    finding = &findings_.emplace_back();
    finding->set_code(code);
    finding->set_error(error);
    finding->set_message(message);
  }
  finding->set_count(finding->count() + 1);
  if (!place.empty() && finding->first_places_size() < kPlaces) finding->add_first_places(place);
}

int64_t Findings::Count(const std::string& code) const {
  int64_t count = 0;
  for (const auto& finding : findings_) {
    if (finding.code() == code) count += finding.count();
  }
  return count;
}

bool Findings::HasErrors() const {
  for (const auto& finding : findings_) {
    if (finding.error()) return true;
  }
  return false;
}

void Findings::AppendTo(v1::DataReport* report) const {
  for (const auto& finding : findings_) *report->add_findings() = finding;
}

}  // namespace trainerd::engine
