// SPDX-License-Identifier: Apache-2.0
#include "client/commands/evaluation/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/net/status_details.h"
#include "proto/base/time.h"

namespace trainerd::client {
namespace {

constexpr int kRenewalsPerLease = 3;
constexpr absl::Duration kRetryEvery = absl::Seconds(1);

}  // namespace

LeaseKeeper::LeaseKeeper(Lease lease, const Context& context)
    : lease_(std::move(lease)),
      context_(context),
      valid_until_(absl::ToUnixMicros(lease_.since + lease_.duration)),
      thread_([this] { Loop(); }) {}

LeaseKeeper::~LeaseKeeper() {
  stopping_ = true;
  wake_up_.Wake();
  thread_.join();
}

bool LeaseKeeper::IsLost() const {
  return lost_ || absl::ToUnixMicros(SteadyNow()) >= valid_until_;
}

std::string LeaseKeeper::Reason() const {
  if (!lost_) return IsLost() ? "the lease could not be renewed in time" : "";
  absl::MutexLock lock(&mutex_);
  return reason_;
}

void LeaseKeeper::Lose(const std::string& reason) {
  {
    absl::MutexLock lock(&mutex_);
    reason_ = reason;
  }
  lost_ = true;
}

void LeaseKeeper::Loop() {
  v1::RenewEvaluationRequest request;
  request.set_name(lease_.name);
  request.set_lease(lease_.id);
  *request.mutable_lease_duration() = ToProto(lease_.duration);
  std::unique_ptr<Connection> connection;
  absl::Duration pause = lease_.duration / kRenewalsPerLease;
  while (true) {
    wake_up_.SleepFor(pause);
    if (stopping_) return;
    const absl::Time begun = SteadyNow();
    absl::Status status = absl::OkStatus();
    if (connection == nullptr) {
      absl::StatusOr<std::unique_ptr<Connection>> opened = context_.Connect();
      status = opened.status();
      if (opened.ok()) connection = *std::move(opened);
    }
    if (connection != nullptr) status = connection->Call<v1::Evaluation>(request).status();
    if (status.ok()) {
      valid_until_ = absl::ToUnixMicros(begun + lease_.duration);
      pause = lease_.duration / kRenewalsPerLease;
      continue;
    }
    if (!IsConnectionLost(status) && !absl::IsUnavailable(status))
      return Lose(std::string(status.message()));
    // The daemon restarts, for example: the lease lasts for a while yet.
    connection.reset();
    pause = std::min(kRetryEvery, lease_.duration / kRenewalsPerLease);
  }
}

}  // namespace trainerd::client
