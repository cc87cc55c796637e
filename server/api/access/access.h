// SPDX-License-Identifier: Apache-2.0
// Who calls, and whether they may: each call of the API passes Check. The identity is that of the
// bearer token if one is sent, else of the client certificate, else of the process at the other end
// of a unix socket. The rules are in role_rules.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "server/api/access/refusal_log.h"
#include "server/api/access/role_rules.h"
#include "server/commands/access/tokens.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

// What a connection and the metadata of a call say about the caller.
struct CallFacts {
  enum class Transport { kUnix, kLoopback, kTls };
  Transport transport = Transport::kLoopback;
  // As Caller::peer.
  std::string peer;
  // Of the calling process on a unix socket; absent: none that the daemon knows.
  std::optional<uint32_t> uid;
  // Subject alternative names (DNS and URI) and common name of a verified client certificate.
  std::vector<std::string> certificate_names;
  // The first `authorization`; absent: none was sent.
  std::optional<std::string> authorization;
};

struct Identity {
  Caller caller;
  // ROLE_UNSPECIFIED: known, but without an entry in `roles`.
  v1::Role role = v1::ROLE_UNSPECIFIED;
  // "tokens/TOKEN"; empty if the caller was not identified by a created token.
  std::string token;
};

// Thread-safety: all methods may be called from any thread.
class Access {
 public:
  struct Options {
    // The token of <state dir>/token; empty: there is none.
    std::string daemon_token;
    // ServerConfig.roles
    std::vector<v1::RoleConfig> roles;
  };
  // All outlive the object.
  Access(Options options, Store& store, Tokens& tokens);

  // Errors: Unauthenticated with reason NO_CREDENTIALS or TOKEN_INVALID.
  absl::StatusOr<Identity> Identify(const CallFacts& facts) const;
  // Whether the caller may make a call without a rule of its own, for example to reflection.
  // Errors: of Identify; PermissionDenied.
  absl::Status CheckOther(const CallFacts& facts) const;
  // Whether the caller may make this call. A refusal is recorded in the audit log. Errors: of
  // Identify; PermissionDenied with reason ROLE, NOT_OWNER or NO_ROLE.
  absl::StatusOr<Identity> Check(const grpc::ServerContextBase& context,
                                 const google::protobuf::Message& request);
  // Only its owner and an admin continue an incomplete upload. A refusal is recorded in the audit
  // log. Errors: PermissionDenied with reason NOT_OWNER.
  absl::Status CheckUpload(const Identity& identity, const std::string& name,
                           const std::string& owner);
  // Call it once a minute: see RefusalLog.
  void FlushRefusals() { refusals_.Flush(); }

  // The users that the daemon distinguishes on a unix socket: its own, root, and those of `roles`.
  std::vector<uint32_t> KnownUids() const;

 private:
  struct UnixRole {
    uint32_t uid;
    std::string principal;
    v1::Role role;
  };
  absl::StatusOr<Identity> IdentifyByToken(const CallFacts& facts) const;
  Identity IdentifyByCertificate(const CallFacts& facts) const;
  Identity IdentifyByUser(const CallFacts& facts) const;
  // Empty: it does not exist, or its name has another form.
  absl::StatusOr<std::string> OwnerOf(const AccessRule& rule, const std::string& resource);
  struct RefusedCall {
    const Identity& identity;
    std::string_view method;
    std::string resource;
    std::string request_id;
  };
  // Records the refusal, and returns it.
  absl::Status Refuse(const RefusedCall& call, absl::Status refusal);

  const Options options_;
  // SHA-256 of the daemon's token: the time to compare hashes does not depend on the secret.
  const std::string daemon_token_hash_;
  std::vector<UnixRole> unix_roles_;
  Store& store_;
  Tokens& tokens_;
  RefusalLog refusals_;
};

// The name of the property with which a listener marks the connections of a unix socket; its value
// is the user id, or kOtherUser.
inline constexpr char kUidProperty[] = "trainerd_uid";
inline constexpr char kOtherUser[] = "other";

// "ipv4:127.0.0.1:4711" → "127.0.0.1:4711", "ipv6:%5B::1%5D:4711" → "[::1]:4711".
std::string PeerAddress(const std::string& grpc_peer);

}  // namespace trainerd::server
