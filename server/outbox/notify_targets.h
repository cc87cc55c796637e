// SPDX-License-Identifier: Apache-2.0
// Who is notified about what: the targets of trainerd.yaml, what jobs may name of them, and the
// recipients of an event. Decisions only; the notifier delivers.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/label_selector.h"
#include "trainerd/internal/notify.pb.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

// What an event means to those who are notified, the most specific meaning first: a job that failed
// is FAILED and ENDED. Empty for most events. Pure.
std::vector<v1::NotifyEvent> MeaningsOf(const v1::Event& event);

// One notification to write.
struct Recipient {
  // ServerConfig.notify[].name; for a url of a job, the target that signs.
  std::string target;
  // Of the job; empty = the target's own address or command.
  std::string url;
  v1::NotifyEvent event = v1::NOTIFY_EVENT_UNSPECIFIED;

  bool operator==(const Recipient&) const = default;
};

// Immutable, so it may be used from any thread. A default one has no targets.
class NotifyTargets {
 public:
  NotifyTargets() = default;
  // `config` is resolved. Reads each secret_file once and checks each program. Errors:
  // FailedPrecondition with the key and what to change.
  static absl::StatusOr<NotifyTargets> Create(const v1::ServerConfig& config);

  bool empty() const { return targets_.empty(); }

  // Who is notified about an event of `job` with these meanings: at most once for each target and
  // url, by the first meaning that it is for.
  std::vector<Recipient> RecipientsOf(const v1::Job& job,
                                      const std::vector<v1::NotifyEvent>& meanings) const;

  // Appends a violation for each entry of config.notify that names no target, or a host that no
  // target lists.
  void Check(const v1::JobConfig& config, std::vector<ConfigViolation>* violations) const;

  // Where a notification for this target and url goes now; number and body are not set. Errors:
  // NotFound if trainerd.yaml no longer has the target, or no longer allows the host.
  absl::StatusOr<internal::Delivery> DeliveryTo(const std::string& target,
                                                const std::string& url) const;

 private:
  struct Target {
    v1::NotifyTargetConfig config;
    // Of config.label_selector.
    LabelSelector selector;
  };
  const v1::NotifyTargetConfig* Find(const std::string& name) const;
  // The first target that lists the host of `url`, which signs for it.
  const v1::NotifyTargetConfig* SignerOf(const std::string& url) const;

  std::vector<Target> targets_;
};

}  // namespace trainerd::server
