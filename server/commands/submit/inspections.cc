// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit/inspections.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "server/runs/inspect_client.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr int kChildrenPerCore = 2;
constexpr absl::Duration kBusyRetry = absl::Seconds(1);

int MaxChildren(int requested) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return requested > 0 ? requested : kChildrenPerCore * cores;
}

}  // namespace

Inspections::Inspections(Options options)
    : options_(std::move(options)), max_children_(MaxChildren(options_.max_children)) {}

absl::StatusOr<v1::DataReport> Inspections::Run(const std::string& config_yaml,
                                                const std::function<bool()>& is_cancelled) {
  const bool room = children_.fetch_add(1) < max_children_;
  const absl::Cleanup leave = [this] { children_.fetch_sub(1); };
  if (!room) {
    return WithRetry(
        ErrorWithReason(absl::StatusCode::kResourceExhausted, "INSPECTIONS",
                        absl::StrCat(Counted(max_children_, "inspection"),
                                     " of data run at once, which is the limit; call again when "
                                     "some have ended")),
        kBusyRetry);
  }
  absl::StatusOr<v1::DataReport> report =
      RunValidate(options_.program, options_.runs_dir, config_yaml, options_.timeout,
                  [&] { return draining_ || (is_cancelled != nullptr && is_cancelled()); });
  if (absl::IsDeadlineExceeded(report.status())) {
    return ErrorWithReason(
        absl::StatusCode::kDeadlineExceeded, "INSPECTION_TIME",
        absl::StrCat("the quick check of the data took longer than ",
                     absl::FormatDuration(options_.timeout),
                     " (validate_timeout of the daemon) and was ended; submit without it "
                     "(--no-validate), or raise validate_timeout"));
  }
  if (absl::IsCancelled(report.status()) && draining_) {
    return absl::UnavailableError("the daemon is shutting down; call again when it has restarted");
  }
  return report;
}

}  // namespace trainerd::server
