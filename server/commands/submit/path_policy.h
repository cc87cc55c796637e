// SPDX-License-Identifier: Apache-2.0
// Which paths a job may name, by the way in which its call came in: what the daemon's user may
// read, a client may have read for it by naming it in a job.
#pragma once

#include <string>
#include <vector>

#include "proto/contract/config/config_violation.h"
#include "server/store/caller.h"
#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

// The peer of a job file of the inbox, whose folder belongs to the daemon's user.
inline constexpr char kInboxPeer[] = "inbox";

// Immutable. A default one allows everything.
class PathPolicy {
 public:
  struct Options {
    std::string state_dir;
    // Of the daemon's user; empty = it has none.
    std::string home;
    // ServerConfig.allow_paths.
    std::vector<std::string> allow_paths;
    // Files that no job may name, whatever allow_paths holds.
    std::vector<std::string> private_files = {};
  };
  PathPolicy() = default;
  explicit PathPolicy(const Options& options);

  // Whether a job of this caller may name `path`, which is absolute: links are resolved first, and
  // whether it exists makes no difference.
  bool Allows(const std::string& path, const Caller& caller) const;

  // A violation with reason PATH_NOT_ALLOWED for each absolute path of `config` that is not
  // allowed.
  void Check(const v1::JobConfig& config, const Caller& caller,
             std::vector<ConfigViolation>* violations) const;

 private:
  // Whether it is one of private_files_; `real` has no links.
  bool IsPrivate(const std::string& real) const;

  // All with links resolved; empty = no rule.
  std::string state_dir_;
  std::vector<std::string> allow_paths_;
  std::vector<std::string> default_tcp_paths_;
  // As written: a link can be replaced, as certificates are, while the daemon runs.
  std::vector<std::string> private_files_;
};

// The files with the secrets of the daemon outside of its state directory, and its log.
std::vector<std::string> PrivateFiles(const v1::ServerConfig& config);

// Home folder of this process's user, by the user database; empty if it has none.
std::string HomeOfUser();

}  // namespace trainerd::server
