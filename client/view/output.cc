// SPDX-License-Identifier: Apache-2.0
#include "client/view/output.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/view/text_width.h"
#include "proto/contract/job_file/message_to_yaml.h"
#include "proto/contract/job_file/output_json.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {
namespace {

using Json = nlohmann::ordered_json;

void AddFinalPath(const v1::Job& job, Json* document) {
  if (job.state() == v1::Job::SUCCEEDED && document->is_object())
    (*document)["final_path"] = FinalPath(job);
}

// The message, with what scripts need besides its fields.
Json Document(const google::protobuf::Message& message) {
  Json document = OutputJson(message);
  if (message.GetDescriptor() == v1::Job::descriptor()) {
    AddFinalPath(static_cast<const v1::Job&>(message), &document);
  } else if (message.GetDescriptor() == v1::ListJobsResponse::descriptor()) {
    const auto& jobs = static_cast<const v1::ListJobsResponse&>(message).jobs();
    for (int i = 0; i < jobs.size() && document.contains("jobs"); ++i)
      AddFinalPath(jobs[i], &document["jobs"][i]);
  }
  return document;
}

}  // namespace

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

std::string FinalPath(const v1::Job& job) {
  return job.config().output().has_path() ? job.config().output().path()
                                          : absl::StrCat(job.run_dir(), "/final");
}

void PrintMessage(const google::protobuf::Message& message, OutputForm form, std::ostream& out) {
  switch (form) {
    case OutputForm::kJson:
      out << JsonText(Document(message), /*pretty=*/true);
      break;
    case OutputForm::kYaml:
      out << MessageToYaml(message);
      out.flush();
      return;
    case OutputForm::kTable:
    case OutputForm::kWide:
    case OutputForm::kJsonl:
      out << JsonText(Document(message), /*pretty=*/false);
      break;
  }
  out << "\n";
  out.flush();
}

}  // namespace trainerd::client
