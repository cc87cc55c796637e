// SPDX-License-Identifier: Apache-2.0
#include "client/view/output.h"

#include <algorithm>

#include "client/view/text_width.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/config/message_to_yaml.h"

namespace trainerd::client {

void Table::Print(std::ostream& out, int columns, bool utf8) const {
  std::vector<int> widths;
  const auto measure = [&widths](const std::vector<std::string>& cells) {
    widths.resize(std::max(widths.size(), cells.size()), 0);
    for (size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], DisplayWidth(cells[i]));
  };
  measure(header_);
  for (const auto& row : rows_) measure(row);
  const auto print = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      line += i + 1 < cells.size() ? PadRight(cells[i], widths[i] + 2) : cells[i];
    }
    out << (columns > 0 ? FitWidth(line, columns, utf8) : line) << "\n";
  };
  print(header_);
  for (const auto& row : rows_) print(row);
}

void PrintMessage(const google::protobuf::Message& message, OutputForm form, std::ostream& out) {
  switch (form) {
    case OutputForm::kJson:
      out << MessageToJsonPretty(message);
      break;
    case OutputForm::kYaml:
      out << MessageToYaml(message);
      out.flush();
      return;
    case OutputForm::kTable:
    case OutputForm::kWide:
    case OutputForm::kJsonl:
      out << MessageToJsonLine(message);
      break;
  }
  out << "\n";
  out.flush();
}

}  // namespace trainerd::client
