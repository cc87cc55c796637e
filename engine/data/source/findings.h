// SPDX-License-Identifier: Apache-2.0
// Counts of what was found in the data, by kind, with the first locations, and which kinds are
// errors (data.findings).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "trainerd/internal/token_store.pb.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// A location in the files of a job. Files have numbers: data.train in order, then data.validation.
struct RecordLocation {
  int32_t file = 0;
  int64_t line = 0;    // 1-based; 0 = the file as a whole
  int64_t column = 0;  // 1-based byte; 0 = the line as a whole
};

enum class Severity { kIgnore, kWarning, kError };
// The severity that data.findings gives `code`; kWarning for a code that cannot be set there.
Severity SeverityOf(const v1::FindingsConfig& config, const std::string& code);

// The files of a job, in the order of RecordLocation::file.
std::vector<std::string> DataFiles(const v1::DataConfig& data);

// Thread-safety: one owner at a time.
class Findings {
 public:
  // Locations that are kept for each kind.
  static constexpr int kPlaces = 10;
  // Keys that the message of UNUSED_KEY or UNRENDERED_FIELD lists.
  static constexpr size_t kListedKeys = 20;

  explicit Findings(const v1::DataConfig& data)
      : config_(data.findings()), files_(DataFiles(data)) {}

  // Counts one more of kind `code`. The first message of a kind is reported.
  void Add(const std::string& code, bool error, const RecordLocation& place,
           const std::string& message);
  // The same for a record that cannot be used; whether that is an error depends on data.bad_rows
  // alone.
  void AddBadRecord(const std::string& code, bool error, const RecordLocation& place,
                    const std::string& message);
  // Counts a record with keys that were not read (UNUSED_KEY); the message lists the keys.
  void AddUnusedKeys(const std::vector<std::string>& keys, const RecordLocation& place);
  // The same for fields of which the template printed nothing (UNRENDERED_FIELD).
  void AddUnrenderedFields(const std::vector<std::string>& fields, const RecordLocation& place);
  // The same as Add for a finding outside of the data files ("" = no location).
  void AddElsewhere(const std::string& code, bool error, const std::string& place,
                    const std::string& message);
  // Appends a location to the message of a kind.
  void SetOtherPlace(const std::string& code, const RecordLocation& place);

  int64_t Count(const std::string& code) const;
  std::string Text(const RecordLocation& place) const;  // "path:line:column"

  // Without AddElsewhere's findings and without the effect of data.findings: for the token store.
  void AppendTo(internal::TokenSetSummary* summary) const;
  void Take(const internal::TokenSetSummary& summary);
  // Appends all kinds in order of first occurrence, with the severity of data.findings.
  void AppendTo(v1::DataReport* report) const;
  // InvalidArgument naming the kinds that data.findings makes errors, with their first places.
  absl::Status ConfiguredErrors() const;

 private:
  struct Kind {
    internal::TokenSetSummary::Finding finding;
    bool error = false;
    std::vector<std::string> elsewhere;
    std::vector<std::string> keys;  // that the message lists
  };
  // Which finding of `code` something is counted in.
  struct KindKey {
    bool error = false;
    bool bad_records = false;
  };
  Kind& KindOf(const std::string& code, const KindKey& key, const std::string& message);
  static void Count(const RecordLocation& place, Kind* kind);
  void AddKeys(const char* code, const char* what, const std::vector<std::string>& keys,
               const RecordLocation& place);
  Severity SeverityOfKind(const Kind& kind) const;
  std::string Message(const Kind& kind) const;

  const v1::FindingsConfig config_;
  const std::vector<std::string> files_;
  std::vector<Kind> kinds_;
};

}  // namespace trainerd::engine
