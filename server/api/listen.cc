// SPDX-License-Identifier: Apache-2.0
#include "server/api/listen.h"

#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::server {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kMinTokenLength = 16;

// Takes the same time for a wrong token as for the right one.
bool SameToken(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char different = 0;
  for (size_t i = 0; i < a.size(); ++i) different |= static_cast<unsigned char>(a[i] ^ b[i]);
  return different == 0;
}

class TokenCheck final : public grpc::AuthMetadataProcessor {
 public:
  explicit TokenCheck(std::string token) : expected_(absl::StrCat("Bearer ", token)) {}
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext*, OutputMetadata* consumed,
                       OutputMetadata*) override {
    const auto range = metadata.equal_range("authorization");
    for (auto it = range.first; it != range.second; ++it) {
      if (SameToken({it->second.data(), it->second.size()}, expected_)) {
        consumed->insert({"authorization", std::string(it->second.data(), it->second.size())});
        return grpc::Status::OK;
      }
    }
    return grpc::Status(
        grpc::StatusCode::UNAUTHENTICATED,
        range.first == range.second
            ? "this address requires `authorization: Bearer TOKEN` in each call; the token is in "
              "the file `token` of the daemon's state directory (trainctl --token-file)"
            : "the token was refused, because it is not the token of this daemon; the valid one is "
              "in the file `token` of the daemon's state directory (trainctl --token-file)");
  }

 private:
  const std::string expected_;
};

absl::Status Refused(const std::string& listen) {
  return absl::InvalidArgumentError(absl::StrCat(
      "listen: \"", listen,
      "\" is refused: trainerd serves a unix socket (\"unix\") or a loopback address "
      "(127.0.0.1:PORT or [::1]:PORT); beyond this machine calls would be neither encrypted nor "
      "authenticated. Forward the port instead, for example ssh -L"));
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListen(const std::string& listen, const StateDir& state_dir) {
  if (listen == "unix") {
    // A socket path is limited to 107 bytes. The path through the descriptor is always short.
    return ListenAddress{
        .is_unix = true,
        .grpc_address = absl::StrCat("unix:", state_dir.short_path(), "/", kSocketName),
        .display = absl::StrCat("unix:", state_dir.path(), "/", kSocketName)};
  }
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(listen.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return Refused(listen);
  }
  const std::string host = listen.substr(0, colon);
  // Other addresses of 127/8 are loopback too, but these are the usual spellings.
  if (host != "127.0.0.1" && host != "[::1]" && host != "localhost") return Refused(listen);
  const std::string address = absl::StrCat(host == "localhost" ? "127.0.0.1" : host, ":", port);
  return ListenAddress{.is_unix = false, .grpc_address = address, .display = address};
}

absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir) {
  const std::string path = absl::StrCat(state_dir, "/", kTokenName);
  absl::StatusOr<std::string> existing = ReadFile(path);
  if (existing.ok()) {
    absl::StripAsciiWhitespace(&*existing);
    if (existing->size() < kMinTokenLength) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " has no token of at least ", kMinTokenLength,
                       " characters; remove the file and restart trainerd to create a new one"));
    }
    ::chmod(path.c_str(), 0600);
    return existing;
  }
  if (!absl::IsNotFound(existing.status())) return existing.status();
  std::string random(kTokenBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), kTokenBytes) != 1) {
    return absl::InternalError("cannot get random bytes for a token");
  }
  const std::string token = ToHex(random);
  RETURN_IF_ERROR(WriteFileAtomic(path, token + "\n", 0600));
  return token;
}

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const ListenAddress& address,
                                                         const std::string& token) {
  if (address.is_unix) return grpc::InsecureServerCredentials();
  auto credentials = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  credentials->SetAuthMetadataProcessor(std::make_shared<TokenCheck>(token));
  return credentials;
}

}  // namespace trainerd::server
