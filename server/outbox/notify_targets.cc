// SPDX-License-Identifier: Apache-2.0
#include "server/outbox/notify_targets.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/secret/private_file.h"
#include "proto/base/secret/webhook_signature.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/advice/nearest_word.h"
#include "proto/contract/config/rules/web_address.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::server {
namespace {

using Events = google::protobuf::RepeatedField<int>;

bool Has(const Events& events, v1::NotifyEvent event) {
  return std::find(events.begin(), events.end(), event) != events.end();
}

absl::Status CheckTarget(const v1::NotifyTargetConfig& target) {
  if (target.has_url()) {
    ASSIGN_OR_RETURN(const std::string secret, ReadPrivateFile(target.secret_file()));
    return Annotate(ParseWebhookSecret(secret).status(), target.secret_file());
  }
  if (::access(target.command(0).c_str(), X_OK) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(target.command(0),
                   " is not a program that this user can run; install it, or change the key "
                   "command"));
}

bool HasEnded(const v1::Evaluation& evaluation) {
  switch (evaluation.state()) {
    case v1::Evaluation::COMPLETED:
    case v1::Evaluation::FAILED:
    case v1::Evaluation::EXPIRED:
    case v1::Evaluation::CANCELLED:
      return true;
    default:
      return false;
  }
}

// Recipients with the events that each is for, without duplicates.
class Filters {
 public:
  void Add(const std::string& target, const std::string& url, const Events& events) {
    auto it = std::find_if(filters_.begin(), filters_.end(), [&](const Filter& filter) {
      return filter.target == target && filter.url == url;
    });
    if (it == filters_.end()) it = filters_.insert(filters_.end(), {target, url, {}});
    it->events.MergeFrom(events);
  }

  std::vector<Recipient> Select(const std::vector<v1::NotifyEvent>& meanings) const {
    std::vector<Recipient> recipients;
    for (const Filter& filter : filters_) {
      const auto meaning =
          std::find_if(meanings.begin(), meanings.end(),
                       [&](v1::NotifyEvent event) { return Has(filter.events, event); });
      if (meaning != meanings.end())
        recipients.push_back({.target = filter.target, .url = filter.url, .event = *meaning});
    }
    return recipients;
  }

 private:
  struct Filter {
    std::string target, url;
    Events events;
  };
  std::vector<Filter> filters_;
};

}  // namespace

std::vector<v1::NotifyEvent> MeaningsOf(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kStateChanged: {
      const v1::StateChanged& change = event.state_changed();
      if (change.from_state() == change.to_state() || !IsTerminal(change.to_state())) return {};
      if (change.to_state() == v1::Job::FAILED)
        return {v1::NOTIFY_EVENT_FAILED, v1::NOTIFY_EVENT_ENDED};
      return {v1::NOTIFY_EVENT_ENDED};
    }
    case v1::Event::kConditionChanged: {
      const v1::Job::Condition& condition = event.condition_changed().condition();
      if (condition.type() == "Stalled" && condition.active()) return {v1::NOTIFY_EVENT_STALLED};
      return {};
    }
    case v1::Event::kAlert:
      if (event.alert().active() && event.alert().severity() >= v1::Alert::WARNING)
        return {v1::NOTIFY_EVENT_ALERT};
      return {};
    case v1::Event::kRemoteEval:
      if (HasEnded(event.remote_eval().evaluation())) return {v1::NOTIFY_EVENT_EVALUATION};
      return {};
    case v1::Event::kCheckpoint:
      if (event.checkpoint().kind() == v1::CheckpointEvent::BECAME_BEST)
        return {v1::NOTIFY_EVENT_BEST};
      return {};
    default:
      return {};
  }
}

absl::StatusOr<NotifyTargets> NotifyTargets::Create(const v1::ServerConfig& config) {
  NotifyTargets targets;
  for (const v1::NotifyTargetConfig& target : config.notify()) {
    if (absl::Status checked = CheckTarget(target); !checked.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("notify target ", target.name(), ": ", std::string(checked.message())));
    }
    Target& added = targets.targets_.emplace_back();
    added.config = target;
    ASSIGN_OR_RETURN(added.selector, ParseLabelSelector(target.label_selector()));
  }
  return targets;
}

std::vector<Recipient> NotifyTargets::RecipientsOf(
    const v1::Job& job, const std::vector<v1::NotifyEvent>& meanings) const {
  Filters filters;
  for (const auto& [target, selector] : targets_) {
    if (target.all_jobs() && selector.Matches(job.config().labels()))
      filters.Add(target.name(), "", target.events());
  }
  for (const v1::JobNotifyConfig& entry : job.config().notify()) {
    // The target may have been removed from trainerd.yaml since the submit.
    const v1::NotifyTargetConfig* target =
        entry.has_url() ? SignerOf(entry.url()) : Find(entry.target());
    if (target == nullptr) continue;
    filters.Add(target->name(), entry.url(),
                entry.events().empty() ? target->events() : entry.events());
  }
  return filters.Select(meanings);
}

void NotifyTargets::Check(const v1::JobConfig& config,
                          std::vector<ConfigViolation>* violations) const {
  std::vector<std::string> names;
  for (const Target& target : targets_) names.push_back(target.config.name());
  for (int i = 0; i < config.notify_size(); ++i) {
    const v1::JobNotifyConfig& entry = config.notify(i);
    if (entry.has_target() && Find(entry.target()) == nullptr) {
      const std::string near = NearestWord(entry.target(), names);
      const std::string advice = names.empty()  ? "trainerd.yaml has none"
                                 : near.empty() ? absl::StrCat("the targets of this daemon are ",
                                                               absl::StrJoin(names, ", "))
                                                : absl::StrCat("did you mean \"", near, "\"?");
      violations->push_back(
          {absl::StrCat("notify[", i, "].target"),
           absl::StrCat(Quoted(entry.target()), " is not a target of trainerd.yaml; ", advice)});
    }
    // The rules of the job file report what is no address.
    if (!ParseWebAddress(entry.url()).has_value() || SignerOf(entry.url()) != nullptr) continue;
    violations->push_back(
        {absl::StrCat("notify[", i, "].url"),
         absl::StrCat("no target of trainerd.yaml lists the host of ", Quoted(entry.url()),
                      " in job_hosts; name a target instead, or have the host added")});
  }
}

absl::StatusOr<internal::Delivery> NotifyTargets::DeliveryTo(const std::string& target,
                                                             const std::string& url) const {
  const v1::NotifyTargetConfig* found = Find(target);
  if (found == nullptr)
    return absl::NotFoundError("trainerd.yaml has no target of this name; add it again");
  internal::Delivery delivery;
  if (!url.empty()) {
    found = SignerOf(url);
    if (found == nullptr) {
      return absl::NotFoundError(
          "no target of trainerd.yaml lists the host of the job's url in job_hosts");
    }
  }
  if (url.empty() && !found->has_url()) {
    *delivery.mutable_command() = found->command();
    return delivery;
  }
  delivery.set_url(url.empty() ? found->url() : url);
  delivery.set_secret_file(found->secret_file());
  return delivery;
}

const v1::NotifyTargetConfig* NotifyTargets::Find(const std::string& name) const {
  for (const Target& target : targets_) {
    if (target.config.name() == name) return &target.config;
  }
  return nullptr;
}

const v1::NotifyTargetConfig* NotifyTargets::SignerOf(const std::string& url) const {
  const std::optional<WebAddress> address = ParseWebAddress(url);
  if (!address.has_value()) return nullptr;
  for (const Target& target : targets_) {
    for (const std::string& host : target.config.job_hosts()) {
      if (IsOnHost(*address, host)) return &target.config;
    }
  }
  return nullptr;
}

}  // namespace trainerd::server
