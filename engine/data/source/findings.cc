// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/findings.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/json.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

constexpr const char* kMediaKeys[] = {"image", "images", "audio", "audios", "video", "videos"};

bool IsMedia(const std::string& key) {
  return std::find(std::begin(kMediaKeys), std::end(kMediaKeys), key) != std::end(kMediaKeys);
}

// The setting with which a finding is no error.
std::string WarnSetting(const std::string& code) {
  return absl::StrCat("data.findings.", absl::AsciiStrToLower(code), ": warn");
}

}  // namespace

Severity SeverityOf(const v1::FindingsConfig& config, const std::string& code) {
  const auto* field =
      v1::FindingsConfig::descriptor()->FindFieldByName(absl::AsciiStrToLower(code));
  if (field == nullptr) return Severity::kWarning;
  using Config = v1::FindingsConfig;
  switch (static_cast<Config::Reaction>(config.GetReflection()->GetEnumValue(config, field))) {
    case Config::REACTION_ERROR:
      return Severity::kError;
    case Config::REACTION_IGNORE:
      return Severity::kIgnore;
    case Config::REACTION_WARN:
    case Config::REACTION_UNSPECIFIED:
    case kMinSentinel<v1::FindingsConfig::Reaction>:
    case kMaxSentinel<v1::FindingsConfig::Reaction>:
      return Severity::kWarning;
  }
  return Severity::kWarning;
}

std::vector<std::string> DataFiles(const v1::DataConfig& data) {
  std::vector<std::string> files;
  for (const v1::DataSource& source : data.train()) files.push_back(source.path());
  if (!data.validation().empty()) files.push_back(data.validation());
  return files;
}

Findings::Kind& Findings::KindOf(const std::string& code, const KindKey& key,
                                 const std::string& message) {
  for (Kind& known : kinds_) {
    if (known.finding.code() == code && known.error == key.error &&
        known.finding.bad_records() == key.bad_records) {
      return known;
    }
  }
  Kind& kind = kinds_.emplace_back();
  kind.error = key.error;
  kind.finding.set_bad_records(key.bad_records);
  kind.finding.set_code(code);
  kind.finding.set_message(message);
  return kind;
}

void Findings::Add(const std::string& code, bool error, const RecordLocation& place,
                   const std::string& message) {
  Count(place, &KindOf(code, {.error = error}, message));
}

void Findings::AddBadRecord(const std::string& code, bool error, const RecordLocation& place,
                            const std::string& message) {
  Count(place, &KindOf(code, {.error = error, .bad_records = true}, message));
}

void Findings::Count(const RecordLocation& place, Kind* kind) {
  kind->finding.set_count(kind->finding.count() + 1);
  if (kind->finding.first_places_size() >= kPlaces) return;
  internal::TokenSetSummary::Place* added = kind->finding.add_first_places();
  added->set_file(place.file);
  added->set_line(place.line);
  added->set_column(place.column);
}

Severity Findings::SeverityOfKind(const Kind& kind) const {
  return kind.finding.bad_records() ? Severity::kWarning : SeverityOf(config_, kind.finding.code());
}

void Findings::AddUnusedKeys(const std::vector<std::string>& keys, const RecordLocation& place) {
  AddKeys("UNUSED_KEY", "keys of records are not read:", keys, place);
}

void Findings::AddUnrenderedFields(const std::vector<std::string>& fields,
                                   const RecordLocation& place) {
  AddKeys("UNRENDERED_FIELD",
          "fields are given of which the chat template prints no byte, so they are not trained; "
          "remove them, or set data.chat_template to a template that prints them:",
          fields, place);
}

void Findings::AddKeys(const char* code, const char* what, const std::vector<std::string>& keys,
                       const RecordLocation& place) {
  if (keys.empty()) return;
  Add(code, false, place, what);
  Kind& kind = KindOf(code, {}, "");
  std::string& message = *kind.finding.mutable_message();
  for (const std::string& key : keys) {
    const bool listed = std::find(kind.keys.begin(), kind.keys.end(), key) != kind.keys.end();
    if (listed || kind.keys.size() > kListedKeys) continue;
    const bool first = kind.keys.empty();
    kind.keys.push_back(key);
    if (kind.keys.size() > kListedKeys) {
      message += ", and others";
      continue;
    }
    absl::StrAppend(&message, first ? " " : ", ", ShownJson(nlohmann::json(key)), " (line ",
                    place.line, place.file == 0 ? "" : absl::StrCat(" of file ", place.file + 1),
                    IsMedia(key) ? "; only text is trained" : "", ")");
  }
}

void Findings::AddElsewhere(const std::string& code, bool error, const std::string& place,
                            const std::string& message) {
  Kind& kind = KindOf(code, {.error = error}, message);
  kind.finding.set_count(kind.finding.count() + 1);
  if (!place.empty() && kind.elsewhere.size() < kPlaces) kind.elsewhere.push_back(place);
}

void Findings::SetOtherPlace(const std::string& code, const RecordLocation& place) {
  for (Kind& kind : kinds_) {
    if (kind.finding.code() != code) continue;
    kind.finding.mutable_other_place()->set_file(place.file);
    kind.finding.mutable_other_place()->set_line(place.line);
  }
}

int64_t Findings::Count(const std::string& code) const {
  int64_t count = 0;
  for (const Kind& kind : kinds_) {
    if (kind.finding.code() == code) count += kind.finding.count();
  }
  return count;
}

std::string Findings::Text(const RecordLocation& place) const {
  const bool known = place.file >= 0 && static_cast<size_t>(place.file) < files_.size();
  std::string text = known ? files_[static_cast<size_t>(place.file)] : "?";
  if (place.line > 0) absl::StrAppend(&text, ":", place.line);
  if (place.column > 0) absl::StrAppend(&text, ":", place.column);
  return text;
}

std::string Findings::Message(const Kind& kind) const {
  if (!kind.finding.has_other_place()) return kind.finding.message();
  const auto& place = kind.finding.other_place();
  return absl::StrCat(kind.finding.message(), " ",
                      Text({.file = place.file(), .line = place.line()}));
}

void Findings::AppendTo(internal::TokenSetSummary* summary) const {
  for (const Kind& kind : kinds_) {
    if (kind.elsewhere.empty()) *summary->add_findings() = kind.finding;
  }
}

void Findings::Take(const internal::TokenSetSummary& summary) {
  for (const auto& finding : summary.findings()) {
    Kind& kind = kinds_.emplace_back();
    kind.finding = finding;
  }
}

void Findings::AppendTo(v1::DataReport* report) const {
  for (const Kind& kind : kinds_) {
    const Severity severity = SeverityOfKind(kind);
    if (severity == Severity::kIgnore) continue;
    v1::DataReport::Finding* finding = report->add_findings();
    finding->set_code(kind.finding.code());
    finding->set_error(kind.error || severity == Severity::kError);
    finding->set_count(kind.finding.count());
    finding->set_message(Message(kind));
    // An error that ends the job has the same advice (ConfiguredErrors, examples/example_set.cc).
    if (kind.finding.bad_records() && finding->error()) {
      finding->mutable_message()->append("; fix the record, or set data.bad_rows: skip");
    } else if (severity == Severity::kError) {
      absl::StrAppend(finding->mutable_message(), "; fix the data, or set ",
                      WarnSetting(kind.finding.code()));
    }
    for (const auto& place : kind.finding.first_places()) {
      finding->add_first_places(
          Text({.file = place.file(), .line = place.line(), .column = place.column()}));
    }
    for (const std::string& place : kind.elsewhere) finding->add_first_places(place);
  }
}

absl::Status Findings::ConfiguredErrors() const {
  std::string text;
  std::set<std::string> keys;
  for (const Kind& kind : kinds_) {
    const std::string& code = kind.finding.code();
    if (SeverityOfKind(kind) != Severity::kError) continue;
    if (!text.empty()) text += "; ";
    if (kind.finding.first_places_size() > 0) {
      const auto& first = kind.finding.first_places(0);
      absl::StrAppend(&text, Text({.file = first.file(), .line = first.line()}), ": ");
    }
    absl::StrAppend(&text, Message(kind), " (", code, ", ", Counted(kind.finding.count(), "time"),
                    ")");
    keys.insert(WarnSetting(code));
  }
  if (text.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(text, "; fix the data, or set ", absl::StrJoin(keys, " and ")));
}

}  // namespace trainerd::engine
