// SPDX-License-Identifier: Apache-2.0
#include "server/commands/lease_waiters.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "proto/base/time.h"
#include "server/commands/queries/queries.h"
#include "server/commands/request.h"
#include "server/store/rows/evaluation_rows.h"
#include "spdlog/spdlog.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {
namespace {

// Upper bound of a sleep. Every trigger wakes the thread earlier.
constexpr absl::Duration kMaxSleep = absl::Seconds(5);

}  // namespace

LeaseWaiters::LeaseWaiters(Evaluations& evaluations, Store& store, FanOut& fan_out)
    : evaluations_(evaluations), store_(store), fan_out_(fan_out) {
  v1::StreamStatusRequest request;
  request.set_parent(kAllJobs);
  request.add_event_types("remote_eval");
  absl::StatusOr<WatchOptions> options = MakeWatch(store, request);
  watching_ = options.ok();
  if (watching_) {
    fan_out_.Add(*std::move(options), this);
  } else {
    spdlog::warn("waiting evaluators check every {} s only: {}", absl::ToInt64Seconds(kMaxSleep),
                 std::string(options.status().message()));
  }
  thread_ = std::thread([this] { Loop(); });
}

LeaseWaiters::~LeaseWaiters() {
  Drain(absl::UnavailableError("the daemon is shutting down"));
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  thread_.join();
  if (!watching_) return;
  fan_out_.Cancel(watch_id);
  finished_.WaitForNotification();
}

void LeaseWaiters::Add(LeaseCall* call, const v1::LeaseEvaluationRequest& request,
                       const Caller& caller) {
  Entry entry{.call = call,
              .request = request,
              .caller = caller,
              .deadline = SteadyNow() + FromProto(request.wait())};
  {
    absl::MutexLock lock(&mutex_);
    added_.push_back(std::move(entry));
  }
  wake_up_.Wake();
}

void LeaseWaiters::Cancel(LeaseCall* call) {
  {
    absl::MutexLock lock(&mutex_);
    cancelled_.push_back(call);
  }
  wake_up_.Wake();
}

void LeaseWaiters::Drain(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (draining_.ok()) draining_ = status;
  }
  wake_up_.Wake();
}

void LeaseWaiters::Write(Bytes message) {
  fan_out_.WriteDone(watch_id, /*ok=*/true);
  wake_up_.Wake();
}

void LeaseWaiters::Loop() {
  while (true) {
    wake_up_.SleepFor(std::min(NextWake() - SteadyNow(), kMaxSleep));
    std::vector<LeaseCall*> cancelled;
    absl::Status draining;
    bool stopping = false;
    {
      absl::MutexLock lock(&mutex_);
      entries_.splice(entries_.end(), added_);
      cancelled.swap(cancelled_);
      draining = draining_;
      stopping = stopping_;
    }
    for (auto it = entries_.begin(); it != entries_.end();) {
      auto current = it++;
      const bool is_cancelled =
          std::find(cancelled.begin(), cancelled.end(), current->call) != cancelled.end();
      if (draining.ok() && !is_cancelled) continue;
      current->call->Finish(is_cancelled ? absl::CancelledError("the evaluator has disconnected")
                                         : draining);
      entries_.erase(current);
    }
    if (stopping) return;
    Serve();
  }
}

void LeaseWaiters::Serve() {
  // Kinds of which none is on offer in this pass.
  std::vector<std::vector<std::string>> exhausted;
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto current = it++;
    if (TryLease(*current, &exhausted)) entries_.erase(current);
  }
}

bool LeaseWaiters::TryLease(const Entry& entry, std::vector<std::vector<std::string>>* exhausted) {
  std::vector<std::string> suites(entry.request.suites().begin(), entry.request.suites().end());
  absl::StatusOr<v1::LeaseEvaluationResponse> response = v1::LeaseEvaluationResponse();
  if (std::find(exhausted->begin(), exhausted->end(), suites) == exhausted->end())
    response = evaluations_.Lease(entry.request, entry.caller);
  const bool none = response.ok() && !response->has_evaluation();
  if (none) exhausted->push_back(std::move(suites));
  if (none && SteadyNow() < entry.deadline) return false;
  entry.call->Finish(std::move(response));
  return true;
}

absl::Time LeaseWaiters::NextWake() const {
  const absl::Time now = SteadyNow();
  if (entries_.empty()) return absl::InfiniteFuture();
  absl::Time wake = now + kMaxSleep;
  for (const Entry& entry : entries_) wake = std::min(wake, entry.deadline);
  const absl::Time stored_now = store_.SteadyNow();
  const absl::StatusOr<std::optional<absl::Time>> lease_end =
      store_.Read([&](Connection& db) { return NextLeaseEnd(db, stored_now); });
  if (lease_end.ok() && lease_end->has_value())
    wake = std::min(wake, now + (**lease_end - stored_now));
  return wake;
}

}  // namespace trainerd::server
