// SPDX-License-Identifier: Apache-2.0
#include "server/store/daemon_user.h"

#include <pwd.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxPrincipalBytes = 64;

std::string UserName(uid_t uid) {
  constexpr size_t kBufferBytes = 16 << 10;
  std::string buffer(kBufferBytes, '\0');
  passwd entry;
  passwd* found = nullptr;
  const bool known =
      ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr;
  return known ? found->pw_name : "";
}

}  // namespace

std::string PrincipalOf(const std::string& user_name, unsigned uid) {
  if (user_name.empty()) return absl::StrCat("uid-", uid);
  std::string principal = user_name.substr(0, kMaxPrincipalBytes);
  for (char& c : principal) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '@' && c != '-')
      c = '_';
  }
  return principal;
}

const std::string& DaemonUser() {
  static const std::string& user =
      *new std::string(PrincipalOf(UserName(::geteuid()), ::geteuid()));
  return user;
}

}  // namespace trainerd::server
