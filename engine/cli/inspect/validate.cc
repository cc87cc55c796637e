// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect validate
#include "engine/cli/inspect/commands.h"
#include "engine/data/masking_check.h"
#include "engine/data/prepare.h"
#include "engine/data/quick_report.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/job_file.h"
#include "proto/contract/config/output_json.h"

namespace trainerd::engine {
namespace {

absl::StatusOr<v1::DataReport> FullReport(const v1::JobConfig& config,
                                          const ValidateOptions& options) {
  ASSIGN_OR_RETURN(const TextPipeline text, OpenTextPipeline(config));
  ASSIGN_OR_RETURN(PreparedData data, PrepareData(config, text, nullptr,
                                                  {.keep_going = true,
                                                   .cache_folder = options.cache_folder,
                                                   .scratch_folder = options.scratch_folder}));
  for (const std::string& note : data.notes) std::fprintf(stderr, "%s\n", note.c_str());
  if (!data.train_sequences.empty()) {
    ASSIGN_OR_RETURN(const v1::MaskingReport checked, CheckMasking(data, config, text));
    const absl::Status masking = MaskingStatus(checked);
    if (!masking.ok()) {
      v1::DataReport::Finding* finding = data.report.add_findings();
      finding->set_code("MASKING");
      finding->set_error(true);
      finding->set_count(1);
      finding->set_message(std::string(masking.message()));
    }
  }
  return std::move(data.report);
}

}  // namespace

absl::StatusOr<bool> RunValidate(const ValidateOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const v1::ResolvedJobConfig job, ReadResolvedJob({.path = options.job_file}));
  const v1::JobConfig& config = job.config();
  v1::DataReport report;
  if (options.quick) {
    report = QuickReport(config);
  } else {
    ASSIGN_OR_RETURN(report, FullReport(config, options));
  }
  std::fprintf(out, "%s\n", JsonText(OutputJson(report), /*pretty=*/true).c_str());
  for (const v1::DataReport::Finding& finding : report.findings()) {
    if (finding.error()) return false;
  }
  return true;
}

}  // namespace trainerd::engine
