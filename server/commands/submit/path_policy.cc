// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit/path_policy.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/contract/config/config_paths.h"

namespace trainerd::server {
namespace {

// Whether the caller may name every folder: the daemon's user, or root. With a token the caller is
// who the token says, on a unix socket too.
bool IsDaemonUser(const Caller& caller) {
  if (caller.peer == kInboxPeer) return true;
  if (!absl::StartsWith(caller.peer, "unix:")) return false;
  return caller.principal == DaemonUser() ||
         (caller.principal == "root" && caller.peer == "unix:uid=0");
}

// A hard link is another name of the same file.
bool IsSameFile(const std::string& a, const std::string& b) {
  struct stat of_a {};
  struct stat of_b {};
  return ::stat(a.c_str(), &of_a) == 0 && ::stat(b.c_str(), &of_b) == 0 &&
         of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

bool IsWithinOneOf(const std::string& path, const std::vector<std::string>& folders) {
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& folder) { return IsWithin(path, folder); });
}

}  // namespace

PathPolicy::PathPolicy(const Options& options)
    : state_dir_(ResolveLinks(options.state_dir)), private_files_(options.private_files) {
  for (const std::string& folder : options.allow_paths)
    allow_paths_.push_back(ResolveLinks(folder));
  // A user without a home often has / as one.
  const std::string home = options.home.empty() ? "/" : ResolveLinks(options.home);
  if (home != "/") default_tcp_paths_.push_back(home);
  default_tcp_paths_.push_back(state_dir_);
}

bool PathPolicy::IsPrivate(const std::string& real) const {
  return std::any_of(private_files_.begin(), private_files_.end(), [&](const std::string& file) {
    return real == ResolveLinks(file) || IsSameFile(real, file);
  });
}

bool PathPolicy::Allows(const std::string& path, const Caller& caller) const {
  if (state_dir_.empty()) return true;
  const std::string real = ResolveLinks(path);
  if (IsPrivate(real)) return false;
  if (IsWithin(real, state_dir_)) return IsWithin(real, state_dir_ + "/runs");
  if (!allow_paths_.empty()) return IsWithinOneOf(real, allow_paths_);
  return IsDaemonUser(caller) || IsWithinOneOf(real, default_tcp_paths_);
}

void PathPolicy::Check(const v1::JobConfig& config, const Caller& caller,
                       std::vector<ConfigViolation>* violations) const {
  ForEachPath(config, [&](const std::string& field, const std::string& path) {
    if (!absl::StartsWith(path, "/") || Allows(path, caller)) return;
    violations->push_back(
        {.path = field,
         .message = absl::StrCat(Quoted(path),
                                 " is outside of the folders that a job may name here; use "
                                 "another one, or add its folder to allow_paths of the daemon's "
                                 "settings"),
         .reason = "PATH_NOT_ALLOWED"});
  });
}

std::vector<std::string> PrivateFiles(const v1::ServerConfig& config) {
  std::vector<std::string> files;
  for (const std::string& file : {config.tls().key(), config.log_file()})
    if (!file.empty()) files.push_back(file);
  for (const v1::NotifyTargetConfig& target : config.notify())
    if (!target.secret_file().empty()) files.push_back(target.secret_file());
  return files;
}

std::string HomeOfUser() {
  constexpr size_t kBufferBytes = 16 << 10;
  std::string buffer(kBufferBytes, '\0');
  passwd entry;
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return "";
  }
  return found->pw_dir;
}

}  // namespace trainerd::server
