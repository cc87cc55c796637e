// SPDX-License-Identifier: Apache-2.0
#include "server/commands/access/tokens.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/hash.h"
#include "proto/base/secret/random_hex.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/rules/access_rules.h"
#include "server/commands/command.h"
#include "server/commands/paging.h"
#include "server/commands/request.h"
#include "server/store/errors.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr char kPrefix[] = "tokens/";
constexpr char kSecretPrefix[] = "trainerd_";
constexpr size_t kSecretBytes = 32;
constexpr size_t kIdBytes = 6;
constexpr absl::Duration kDefaultTtl = absl::Hours(2160);
constexpr absl::Duration kMinTtl = absl::Minutes(1);
constexpr absl::Duration kMaxTtl = absl::Hours(87'600);
// How long a revoked or expired token is listed.
constexpr absl::Duration kKeep = absl::Hours(720);
constexpr absl::Duration kMaintainEvery = absl::Minutes(1);
constexpr absl::Duration kCheckEvery = absl::Seconds(1);

// As PruneTokens.
bool EndedBefore(const v1::Token& token, absl::Time time) {
  return (token.has_revoke_time() && FromProto(token.revoke_time()) < time) ||
         (token.has_expire_time() && FromProto(token.expire_time()) < time);
}

absl::Time MinuteOf(absl::Time time) {
  return absl::UnixEpoch() + absl::Floor(time - absl::UnixEpoch(), absl::Minutes(1));
}

absl::StatusOr<std::optional<absl::Time>> ExpiryOf(const v1::CreateTokenRequest& request,
                                                   absl::Time now) {
  const absl::Duration ttl = request.has_ttl() ? FromProto(request.ttl()) : kDefaultTtl;
  if (ttl == absl::ZeroDuration()) return std::nullopt;
  if (ttl >= kMinTtl && ttl <= kMaxTtl) return now + ttl;
  return BadField("ttl", absl::StrCat(absl::FormatDuration(ttl),
                                      " is not in 1m..87600h; use 0s for a token that does not "
                                      "expire"));
}

absl::Status CheckCreate(const v1::CreateTokenRequest& request) {
  if (!IsPrincipal(request.principal())) {
    return BadField("principal",
                    absl::StrCat(Quoted(request.principal()),
                                 " is not 1 to 128 of the characters A-Z a-z 0-9 . _ @ : / + -"));
  }
  if (v1::Role_IsValid(request.role()) && request.role() != v1::ROLE_UNSPECIFIED)
    return absl::OkStatus();
  return BadField("role", absl::StrCat(static_cast<int>(request.role()),
                                       " is not a role; use ROLE_VIEWER, ROLE_OPERATOR or "
                                       "ROLE_ADMIN"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokens>> Tokens::Open(Store& store) {
  std::unique_ptr<Tokens> tokens(new Tokens(store));
  ASSIGN_OR_RETURN(std::vector<TokenRow> rows, store.Read([](Connection& db) {
    return ListTokenRows(db, 0, std::numeric_limits<int>::max());
  }));
  absl::MutexLock lock(&tokens->mutex_);
  for (TokenRow& row : rows) {
    const absl::Time used =
        row.token.has_last_use_time() ? FromProto(row.token.last_use_time()) : absl::InfinitePast();
    tokens->entries_[row.hash] = {.token = std::move(row.token), .used = used, .stored = used};
  }
  return tokens;
}

Tokens::~Tokens() {
  Stop();
  if (const absl::Status stored = Maintain(); !stored.ok())
    spdlog::warn("cannot store when tokens were used: {}", std::string(stored.message()));
}

bool Tokens::IsUsable(const Entry& entry) const {
  if (entry.token.has_revoke_time()) return false;
  return !entry.token.has_expire_time() || store_.Now() < FromProto(entry.token.expire_time());
}

std::optional<v1::Token> Tokens::Find(std::string_view secret) {
  const std::string hash = Sha256(secret);
  const absl::Time minute = MinuteOf(store_.Now());
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(hash);
  if (found == entries_.end() || !IsUsable(found->second)) return std::nullopt;
  found->second.used = minute;
  return found->second.token;
}

bool Tokens::IsValid(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    return entry.second.token.name() == name && IsUsable(entry.second);
  });
}

absl::StatusOr<v1::CreateTokenResponse> Tokens::Create(const v1::CreateTokenRequest& request,
                                                       const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  RETURN_IF_ERROR(CheckCreate(request));
  const absl::Time now = store_.Now();
  ASSIGN_OR_RETURN(const std::optional<absl::Time> expiry, ExpiryOf(request, now));
  ASSIGN_OR_RETURN(const std::string random, RandomHex(kSecretBytes));
  TokenRow row;
  ASSIGN_OR_RETURN(row.id, RandomHex(kIdBytes));
  v1::CreateTokenResponse response;
  response.set_secret(absl::StrCat(kSecretPrefix, random));
  row.hash = Sha256(response.secret());
  row.token.set_name(absl::StrCat(kPrefix, row.id));
  row.token.set_principal(request.principal());
  row.token.set_role(request.role());
  *row.token.mutable_create_time() = ToProto(now);
  if (expiry.has_value()) *row.token.mutable_expire_time() = ToProto(*expiry);
  const CommandCall call{.method = "CreateToken", .caller = caller, .resource = row.token.name()};
  RETURN_IF_ERROR(RunCommand(
      store_, call, /*job_id=*/"", [&](Transaction& t) { return InsertToken(t.db(), row); },
      &response));
  *response.mutable_token() = row.token;
  {
    absl::MutexLock lock(&mutex_);
    entries_[row.hash].token = row.token;
  }
  wake_up_.Wake();
  return response;
}

absl::StatusOr<v1::ListTokensResponse> Tokens::List(const v1::ListTokensRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const int page, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const int64_t before, PageToken(request.page_token()));
  ASSIGN_OR_RETURN(const std::vector<TokenRow> rows, store_.Read([&](Connection& db) {
    return ListTokenRows(db, before, page + 1);
  }));
  v1::ListTokensResponse response;
  PageFill fill(page);
  int64_t last = 0;
  absl::MutexLock lock(&mutex_);
  for (const TokenRow& row : rows) {
    v1::Token token = row.token;
    const auto known = entries_.find(row.hash);
    if (known != entries_.end() && known->second.used != absl::InfinitePast())
      *token.mutable_last_use_time() = ToProto(known->second.used);
    if (!fill.Takes(token)) {
      response.set_next_page_token(absl::StrCat(last));
      break;
    }
    last = row.number;
    *response.add_tokens() = std::move(token);
  }
  return response;
}

absl::StatusOr<v1::Token> Tokens::Revoke(const v1::RevokeTokenRequest& request,
                                         const Caller& caller) {
  RETURN_IF_ERROR(CheckRequest(request));
  std::string hash;
  v1::Token token;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [key, entry] : entries_) {
      if (entry.token.name() != request.name()) continue;
      hash = key;
      token = entry.token;
    }
  }
  if (hash.empty()) {
    if (!absl::StartsWith(request.name(), kPrefix)) {
      return WithReason(BadField("name", absl::StrCat(Quoted(request.name()),
                                                      " is not the name of a token; use "
                                                      "tokens/TOKEN")),
                        "INVALID_NAME");
    }
    return ErrorWithReason(absl::StatusCode::kNotFound, "TOKEN_NOT_FOUND",
                           absl::StrCat(Quoted(request.name()),
                                        " does not exist; `trainctl token ls` lists the tokens"));
  }
  if (token.has_revoke_time()) return token;
  const absl::Time now = store_.Now();
  *token.mutable_revoke_time() = ToProto(now);
  const std::string id = request.name().substr(sizeof(kPrefix) - 1);
  const CommandCall call{.method = "RevokeToken", .caller = caller, .resource = request.name()};
  v1::Token reply;
  RETURN_IF_ERROR(RunCommand(
      store_, call, /*job_id=*/"", [&](Transaction& t) { return SetTokenRevoked(t.db(), id, now); },
      &reply));
  {
    absl::MutexLock lock(&mutex_);
    entries_[hash].token = token;
  }
  wake_up_.Wake();
  return token;
}

void Tokens::Start(std::function<void()> check) {
  check_ = std::move(check);
  thread_ = std::thread([this] { Loop(); });
}

void Tokens::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
  if (thread_.joinable()) thread_.join();
}

absl::Duration Tokens::UntilNextCheck() const {
  absl::MutexLock lock(&mutex_);
  // Often, rather than at the time itself: the system's clock can be set.
  // A call that was checked just before its token ended may open its stream just after, and one
  // that does not end at once is broken later.
  const absl::Time recently = store_.Now() - kMaintainEvery;
  const bool ends = std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    const v1::Token& token = entry.second.token;
    if (token.has_revoke_time()) return FromProto(token.revoke_time()) > recently;
    return token.has_expire_time() && FromProto(token.expire_time()) > recently;
  });
  return ends ? kCheckEvery : kMaintainEvery;
}

void Tokens::Loop() {
  absl::Time maintained = trainerd::SteadyNow();
  while (true) {
    wake_up_.SleepFor(UntilNextCheck());
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
    }
    check_();
    if (trainerd::SteadyNow() < maintained + kMaintainEvery) continue;
    maintained = trainerd::SteadyNow();
    if (const absl::Status stored = Maintain(); !stored.ok())
      spdlog::warn("cannot store when tokens were used: {}", std::string(stored.message()));
  }
}

absl::Status Tokens::Maintain() {
  const absl::Time before = store_.Now() - kKeep;
  std::vector<std::pair<std::string, absl::Time>> used;
  bool prune = false;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [hash, entry] : entries_) {
      const v1::Token& token = entry.token;
      prune |= EndedBefore(token, before);
      if (entry.used == entry.stored) continue;
      used.emplace_back(token.name().substr(sizeof(kPrefix) - 1), entry.used);
      entry.stored = entry.used;
    }
  }
  if (used.empty() && !prune) return absl::OkStatus();
  RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
    for (const auto& [id, minute] : used) RETURN_IF_ERROR(SetTokenUsed(t.db(), id, minute));
    return prune ? PruneTokens(t.db(), before) : absl::OkStatus();
  }));
  if (!prune) return absl::OkStatus();
  absl::MutexLock lock(&mutex_);
  absl::erase_if(entries_,
                 [&](const auto& entry) { return EndedBefore(entry.second.token, before); });
  return absl::OkStatus();
}

}  // namespace trainerd::server
