// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/access.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/hash.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/upload_path.h"
#include "proto/contract/job/names.h"
#include "server/store/errors.h"
#include "server/store/rows/file_rows.h"
#include "server/store/rows/job_rows.h"
#include "spdlog/spdlog.h"
#include "trainerd/v1/file.pb.h"

namespace trainerd::server {
namespace {

constexpr char kBearer[] = "Bearer ";
// Of a name or an id in the audit entry of a refused call.
constexpr size_t kMaxAuditText = 1024;

std::optional<uint32_t> UidOf(const std::string& user) {
  constexpr size_t kBufferBytes = 16 << 10;
  std::string buffer(kBufferBytes, '\0');
  passwd entry;
  passwd* found = nullptr;
  const bool known =
      ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr;
  return known ? std::optional<uint32_t>(found->pw_uid) : std::nullopt;
}

std::string PrincipalOfRole(const v1::RoleConfig& role) {
  if (!role.principal().empty()) return role.principal();
  return role.has_certificate() ? role.certificate() : role.unix_user();
}

absl::Status NoCredentials(const CallFacts& facts) {
  const bool tls = facts.transport == CallFacts::Transport::kTls;
  return ErrorWithReason(
      absl::StatusCode::kUnauthenticated, "NO_CREDENTIALS",
      absl::StrCat("this address requires ", tls ? "a client certificate, or " : "",
                   "`authorization: Bearer TOKEN` in each call; ",
                   tls ? "an admin makes a token with `trainctl token create`"
                       : "the token is in the file `token` of the daemon's state directory",
                   " (trainctl --token-file)"));
}

// Extracts the facts from the context of a call.
CallFacts FactsOf(const grpc::ServerContextBase& context) {
  CallFacts facts;
  facts.peer = PeerAddress(context.peer());
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  const auto values = [&](const char* name) {
    return auth == nullptr ? std::vector<grpc::string_ref>() : auth->FindPropertyValues(name);
  };
  const std::vector<grpc::string_ref> type = values(GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
  if (!type.empty() && type[0] == GRPC_SSL_TRANSPORT_SECURITY_TYPE) {
    facts.transport = CallFacts::Transport::kTls;
    for (const char* name :
         {GRPC_PEER_DNS_PROPERTY_NAME, GRPC_PEER_URI_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
      for (const grpc::string_ref& value : values(name))
        facts.certificate_names.emplace_back(value.data(), value.size());
    }
  }
  if (const std::vector<grpc::string_ref> user = values(kUidProperty); !user.empty()) {
    facts.transport = CallFacts::Transport::kUnix;
    uint32_t uid = 0;
    if (absl::SimpleAtoi(absl::string_view(user[0].data(), user[0].size()), &uid)) facts.uid = uid;
    facts.peer = facts.uid.has_value() ? absl::StrCat("unix:uid=", uid) : "unix:";
  }
  const auto sent = context.client_metadata().find("authorization");
  if (sent != context.client_metadata().end())
    facts.authorization = std::string(sent->second.data(), sent->second.size());
  return facts;
}

std::string AuditText(const std::string& text) {
  return ToValidUtf8(PlainText(text).substr(0, kMaxAuditText));
}

std::string RequestIdOf(const google::protobuf::Message& request) {
  const auto* field = request.GetDescriptor()->FindFieldByName("request_id");
  return field == nullptr ? "" : request.GetReflection()->GetString(request, field);
}

absl::Status NoRole(const Identity& identity) {
  return ErrorWithReason(
      absl::StatusCode::kPermissionDenied, "NO_ROLE",
      absl::StrCat(identity.caller.principal,
                   " has no role in this daemon; add an entry to `roles` of its settings"));
}

absl::Status TooLow(const Identity& identity, v1::Role need, std::string_view method) {
  return ErrorWithReason(absl::StatusCode::kPermissionDenied, "ROLE",
                         absl::StrCat(std::string(method), " needs the role ", RoleName(need),
                                      ", and ", identity.caller.principal, " has the role ",
                                      RoleName(identity.role), "; call as somebody with that role"),
                         {{"have", RoleName(identity.role)}, {"need", RoleName(need)}});
}

absl::Status NotOwner(const Identity& identity, const std::string& resource,
                      const std::string& owner) {
  return ErrorWithReason(
      absl::StatusCode::kPermissionDenied, "NOT_OWNER",
      absl::StrCat(resource, " belongs to ", owner, ", and ", identity.caller.principal,
                   " can change only what it owns; call as its owner or as an "
                   "admin"),
      {{"owner", owner}});
}

}  // namespace

std::string PeerAddress(const std::string& grpc_peer) {
  absl::string_view address = grpc_peer;
  if (!absl::ConsumePrefix(&address, "ipv4:")) absl::ConsumePrefix(&address, "ipv6:");
  return absl::StrReplaceAll(address, {{"%5B", "["}, {"%5D", "]"}});
}

Access::Access(Options options, Store& store, Tokens& tokens)
    : options_(std::move(options)),
      daemon_token_hash_(options_.daemon_token.empty() ? "" : Sha256(options_.daemon_token)),
      store_(store),
      tokens_(tokens),
      refusals_(store) {
  for (const v1::RoleConfig& role : options_.roles) {
    if (!role.has_unix_user()) continue;
    const std::optional<uint32_t> uid = UidOf(role.unix_user());
    if (uid.has_value()) {
      unix_roles_.push_back({*uid, PrincipalOfRole(role), role.role()});
    } else {
      spdlog::warn("roles: this system has no user {}; the entry has no effect", role.unix_user());
    }
  }
}

std::vector<uint32_t> Access::KnownUids() const {
  std::set<uint32_t> uids = {0, ::geteuid()};
  for (const UnixRole& role : unix_roles_) uids.insert(role.uid);
  return {uids.begin(), uids.end()};
}

absl::StatusOr<Identity> Access::IdentifyByToken(const CallFacts& facts) const {
  absl::string_view secret = *facts.authorization;
  if (absl::ConsumePrefix(&secret, kBearer)) {
    const std::string text(secret);
    if (!daemon_token_hash_.empty() && Sha256(text) == daemon_token_hash_)
      return Identity{.caller = Caller(facts.peer), .role = v1::ROLE_ADMIN, .token = ""};
    if (const std::optional<v1::Token> token = tokens_.Find(text); token.has_value()) {
      return Identity{.caller = Caller(token->principal(), facts.peer),
                      .role = token->role(),
                      .token = token->name()};
    }
  }
  return ErrorWithReason(
      absl::StatusCode::kUnauthenticated, "TOKEN_INVALID",
      "the token was refused: this daemon does not know it, or it was revoked or has expired; "
      "`trainctl token create` makes one, and the daemon's own is in the file `token` of its state "
      "directory (trainctl --token-file)");
}

Identity Access::IdentifyByCertificate(const CallFacts& facts) const {
  const auto& names = facts.certificate_names;
  for (const v1::RoleConfig& role : options_.roles) {
    if (!role.has_certificate()) continue;
    if (std::find(names.begin(), names.end(), role.certificate()) == names.end()) continue;
    return {.caller = Caller(PrincipalOfRole(role), facts.peer), .role = role.role(), .token = ""};
  }
  return {.caller = Caller(AuditText(names.front()), facts.peer),
          .role = v1::ROLE_UNSPECIFIED,
          .token = ""};
}

Identity Access::IdentifyByUser(const CallFacts& facts) const {
  const Identity nobody = {
      .caller = Caller("unknown user", facts.peer), .role = v1::ROLE_UNSPECIFIED, .token = ""};
  if (!facts.uid.has_value()) return nobody;
  if (*facts.uid == ::geteuid())
    return {.caller = Caller(facts.peer), .role = v1::ROLE_ADMIN, .token = ""};
  if (*facts.uid == 0)
    return {.caller = Caller("root", facts.peer), .role = v1::ROLE_ADMIN, .token = ""};
  for (const UnixRole& role : unix_roles_) {
    if (role.uid == *facts.uid)
      return {.caller = Caller(role.principal, facts.peer), .role = role.role, .token = ""};
  }
  return nobody;
}

absl::StatusOr<Identity> Access::Identify(const CallFacts& facts) const {
  if (facts.authorization.has_value()) return IdentifyByToken(facts);
  if (facts.transport == CallFacts::Transport::kUnix) return IdentifyByUser(facts);
  if (!facts.certificate_names.empty()) return IdentifyByCertificate(facts);
  return NoCredentials(facts);
}

absl::Status Access::CheckOther(const CallFacts& facts) const {
  ASSIGN_OR_RETURN(const Identity identity, Identify(facts));
  return identity.role == v1::ROLE_UNSPECIFIED ? NoRole(identity) : absl::OkStatus();
}

absl::Status Access::Refuse(const RefusedCall& call, absl::Status refusal) {
  refusals_.Record({.method = std::string(call.method),
                    .resource = AuditText(call.resource),
                    .principal = call.identity.caller.principal,
                    .peer = call.identity.caller.peer,
                    .request_id = AuditText(call.request_id),
                    .code = static_cast<int>(absl::StatusCode::kPermissionDenied)});
  return refusal;
}

absl::StatusOr<std::string> Access::OwnerOf(const AccessRule& rule, const std::string& resource) {
  using Type = v1::CallAccess;
  switch (rule.resource_type) {
    case Type::JOB:
    case Type::CHECKPOINT:
    case Type::MODEL:
    case Type::EVALUATION: {
      const std::string id = JobId(resource);
      if (!IsJobId(id)) return "";
      const absl::StatusOr<JobRecord> record =
          store_.Read([&](Connection& db) { return LoadJob(db, id); });
      if (absl::IsNotFound(record.status())) return "";
      RETURN_IF_ERROR(record.status());
      return record->job.owner();
    }
    case Type::FILE: {
      const std::optional<std::string> sha256 = ParseUploadName(resource);
      if (!sha256.has_value()) return "";
      ASSIGN_OR_RETURN(const std::optional<FileRow> row,
                       store_.Read([&](Connection& db) { return FindFile(db, *sha256); }));
      return row.has_value() ? row->owner : "";
    }
    case Type::TOKEN:
    case Type::NOTIFICATION:
    case Type::RESOURCE_TYPE_UNSPECIFIED:
    case kMinSentinel<Type::ResourceType>:
    case kMaxSentinel<Type::ResourceType>:
      break;
  }
  return absl::InternalError(
      absl::StrCat(std::string(rule.method), " is for owners of what has no owner"));
}

absl::Status Access::CheckUpload(const Identity& identity, const std::string& name,
                                 const std::string& owner) {
  if (identity.role >= v1::ROLE_ADMIN || owner == identity.caller.principal)
    return absl::OkStatus();
  const std::string_view method = RuleFor(v1::UploadFileRequest())->method;
  return Refuse({identity, method, name, ""}, NotOwner(identity, name, owner));
}

absl::StatusOr<Identity> Access::Check(const grpc::ServerContextBase& context,
                                       const google::protobuf::Message& request) {
  ASSIGN_OR_RETURN(Identity identity, Identify(FactsOf(context)));
  const std::optional<AccessRule> found = RuleFor(request);
  if (identity.role >= v1::ROLE_ADMIN && found.has_value()) return identity;
  const AccessRule rule = found.value_or(AccessRule());
  const RefusedCall call = {identity, rule.method, ResourceOf(rule, request), RequestIdOf(request)};
  if (identity.role == v1::ROLE_UNSPECIFIED) return Refuse(call, NoRole(identity));
  if (identity.role < rule.role || !found.has_value())
    return Refuse(call, TooLow(identity, rule.role, rule.method));
  if (!rule.owned) return identity;
  ASSIGN_OR_RETURN(const std::string owner, OwnerOf(rule, call.resource));
  // The command answers for a name of another form, and of what does not exist.
  if (owner.empty() || owner == identity.caller.principal) return identity;
  return Refuse(call, NotOwner(identity, call.resource, owner));
}

}  // namespace trainerd::server
