// SPDX-License-Identifier: Apache-2.0
// The forms of -o: human-readable tables, and documents for programs.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

enum class OutputForm { kTable, kWide, kJson, kJsonl, kYaml };

inline bool IsForPeople(OutputForm form) {
  return form == OutputForm::kTable || form == OutputForm::kWide;
}

// Rows under a header, columns aligned by display width. Cells may contain colors; the caller
// replaces other control characters (PlainText).
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // `columns` > 0 cuts each line to that many columns.
  void Print(std::ostream& out, int columns = 0, bool utf8 = true) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// Where the job writes its final model.
std::string FinalPath(const v1::Job& job);

// One document: pretty JSON, one line of JSON, or YAML. In JSON, a job that SUCCEEDED also has
// `final_path`.
void PrintMessage(const google::protobuf::Message& message, OutputForm form, std::ostream& out);

// A list of `items`: a line each with jsonl, else one document.
template <typename Items>
void PrintList(const google::protobuf::Message& list, const Items& items, OutputForm form,
               std::ostream& out) {
  if (form != OutputForm::kJsonl) return PrintMessage(list, form, out);
  for (const auto& item : items) PrintMessage(item, form, out);
}

}  // namespace trainerd::client
