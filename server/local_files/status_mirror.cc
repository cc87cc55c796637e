// SPDX-License-Identifier: Apache-2.0
#include "server/local_files/status_mirror.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job_file/output_json.h"
#include "server/commands/queries/list_jobs.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr int kEndedJobs = 20;
constexpr int kPageSize = 1000;
// The pause after a write is at least this many times its duration.
constexpr int kPauseFactor = 9;

// No list is in the order of the queue.
constexpr absl::Duration kNoAging = absl::ZeroDuration();

v1::ListJobsRequest RequestFor(bool ended) {
  v1::ListJobsRequest request;
  for (int state = v1::Job::State_MIN; state <= v1::Job::State_MAX; ++state) {
    if (!v1::Job::State_IsValid(state) || state == v1::Job::STATE_UNSPECIFIED) continue;
    const auto known = static_cast<v1::Job::State>(state);
    if (IsTerminal(known) == ended) request.add_states(known);
  }
  request.set_page_size(ended ? kEndedJobs : kPageSize);
  if (ended) request.set_order_by("end_time desc");
  return request;
}

}  // namespace

StatusMirror::~StatusMirror() { Stop(); }

void StatusMirror::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void StatusMirror::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
}

void StatusMirror::OnChange() {
  {
    absl::MutexLock lock(&mutex_);
    if (changed_) return;
    changed_ = true;
  }
  wake_up_.Wake();
}

absl::Status StatusMirror::WriteOnce() {
  v1::ListJobsResponse all;
  v1::ListJobsRequest request = RequestFor(/*ended=*/false);
  do {
    ASSIGN_OR_RETURN(v1::ListJobsResponse page, ListJobs(store_, kNoAging, request));
    if (all.cursor().empty()) all.set_cursor(page.cursor());
    for (v1::Job& job : *page.mutable_jobs()) *all.add_jobs() = std::move(job);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  ASSIGN_OR_RETURN(v1::ListJobsResponse ended,
                   ListJobs(store_, kNoAging, RequestFor(/*ended=*/true)));
  for (v1::Job& job : *ended.mutable_jobs()) *all.add_jobs() = std::move(job);
  return ReplaceFile(options_.path, JsonText(OutputJson(all), /*pretty=*/true) + "\n");
}

void StatusMirror::Loop() {
  while (true) {
    bool changed = false, stopping = false;
    {
      absl::MutexLock lock(&mutex_);
      changed = std::exchange(changed_, false);
      stopping = stopping_;
    }
    if (changed) {
      WriteAndPause();
    } else if (stopping) {
      return;
    } else {
      wake_up_.SleepFor(absl::Hours(1));
    }
  }
}

void StatusMirror::WriteAndPause() {
  const absl::Time begin = SteadyNow();
  const absl::Status written = WriteOnce();
  if (!written.ok() && !error_logged_)
    spdlog::error("status_file: {}; trying again", std::string(written.message()));
  error_logged_ = !written.ok();
  const absl::Time end = begin + std::max(options_.every, kPauseFactor * (SteadyNow() - begin));
  while (SteadyNow() < end) {
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      changed_ |= !written.ok();
    }
    wake_up_.SleepFor(end - SteadyNow());
  }
}

}  // namespace trainerd::server
