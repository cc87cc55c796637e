// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/notify_rules.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/label_selector.h"
#include "proto/contract/config/rules/web_address.h"

namespace trainerd {
namespace {

constexpr int kMaxEntries = 32;
constexpr int kMaxHosts = 32;
constexpr size_t kMaxNameBytes = 40;
constexpr char kNoAddress[] =
    "is not an http:// or https:// address without user name, password and fragment";

using Violations = std::vector<ConfigViolation>;

bool IsTargetName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '-';
         });
}

std::string Key(int index, const char* key) { return absl::StrCat("notify[", index, "].", key); }

void CheckCount(int count, Violations* violations) {
  if (count <= kMaxEntries) return;
  violations->push_back(
      {"notify", absl::StrCat("has ", count, " entries; the limit is ", kMaxEntries)});
}

void CheckWebhook(const v1::NotifyTargetConfig& target, int i, Violations* violations) {
  if (!ParseWebAddress(target.url()).has_value())
    violations->push_back({Key(i, "url"), kNoAddress});
  if (!target.has_secret_file()) {
    violations->push_back(
        {Key(i, "secret_file"),
         "is required with url; name a file of mode 0600 that holds whsec_BASE64, "
         "with which the receiver checks who sent a notification"});
  }
  if (target.job_hosts_size() > kMaxHosts) {
    violations->push_back(
        {Key(i, "job_hosts"),
         absl::StrCat("has ", target.job_hosts_size(), " entries; the limit is ", kMaxHosts)});
  }
  for (int k = 0; k < target.job_hosts_size(); ++k) {
    if (IsHostEntry(target.job_hosts(k))) continue;
    violations->push_back(
        {absl::StrCat(Key(i, "job_hosts"), "[", k, "]"),
         absl::StrCat(Quoted(target.job_hosts(k)),
                      " is not a host or HOST:PORT, for example hooks.example.com")});
  }
}

void CheckCommand(const v1::NotifyTargetConfig& target, int i, Violations* violations) {
  if (!absl::StartsWith(target.command(0), "/")) {
    violations->push_back(
        {Key(i, "command"),
         absl::StrCat(Quoted(target.command(0)),
                      " is not an absolute path; a command starts without a shell and without "
                      "PATH, so give the path of the program, then its arguments")});
  }
  for (const std::string& word : target.command()) {
    if (word.find('\0') == std::string::npos) continue;
    violations->push_back({Key(i, "command"), "holds a zero byte; remove it"});
    break;
  }
  if (target.has_secret_file())
    violations->push_back({Key(i, "secret_file"), "applies only with url; remove it"});
  if (target.job_hosts_size() > 0)
    violations->push_back({Key(i, "job_hosts"), "applies only with url; remove it"});
}

void CheckTarget(const v1::NotifyTargetConfig& target, int i, Violations* violations) {
  if (target.has_name() && !IsTargetName(target.name())) {
    violations->push_back(
        {Key(i, "name"), absl::StrCat(Quoted(target.name()), " is not 1 to ", kMaxNameBytes,
                                      " of the characters a-z 0-9 _ -")});
  }
  if (target.has_label_selector()) {
    const absl::Status parsed = ParseLabelSelector(target.label_selector()).status();
    if (!parsed.ok())
      violations->push_back({Key(i, "label_selector"), std::string(parsed.message())});
  }
  if (target.has_url() == (target.command_size() > 0)) {
    violations->push_back({absl::StrCat("notify[", i, "]"),
                           target.has_url() ? "has both url and command; leave one of them out"
                                            : "has neither url nor command; give one of them"});
  } else if (target.has_url()) {
    CheckWebhook(target, i, violations);
  } else {
    CheckCommand(target, i, violations);
  }
}

}  // namespace

void CheckNotify(const v1::JobConfig& config, Violations* violations) {
  CheckCount(config.notify_size(), violations);
  for (int i = 0; i < config.notify_size(); ++i) {
    const v1::JobNotifyConfig& entry = config.notify(i);
    if (entry.has_target() == entry.has_url()) {
      violations->push_back({absl::StrCat("notify[", i, "]"),
                             entry.has_url() ? "has both target and url; leave one of them out"
                                             : "has neither target nor url; give one of them"});
    } else if (entry.has_url() && !ParseWebAddress(entry.url()).has_value()) {
      violations->push_back({Key(i, "url"), absl::StrCat(Quoted(entry.url()), " ", kNoAddress)});
    }
  }
}

void CheckNotifyTargets(const v1::ServerConfig& config, Violations* violations) {
  CheckCount(config.notify_size(), violations);
  std::set<std::string> names;
  for (int i = 0; i < config.notify_size(); ++i) {
    CheckTarget(config.notify(i), i, violations);
    if (!config.notify(i).has_name() || names.insert(config.notify(i).name()).second) continue;
    violations->push_back(
        {Key(i, "name"), absl::StrCat(Quoted(config.notify(i).name()),
                                      " is the name of two targets; give each its own")});
  }
}

}  // namespace trainerd
