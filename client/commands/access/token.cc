// SPDX-License-Identifier: Apache-2.0
// trainctl token: create, list and revoke bearer tokens. The secret is printed once, alone on
// stdout, so that a script can store it.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/commands/commands.h"
#include "client/commands/common/control.h"
#include "client/commands/common/errors.h"
#include "client/net/pages.h"
#include "client/view/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::client {
namespace {

constexpr char kPrefix[] = "tokens/";
constexpr int kPageSize = 500;

std::string StateOf(const v1::Token& token, absl::Time now) {
  if (token.has_revoke_time()) return "revoked";
  return token.has_expire_time() && FromProto(token.expire_time()) <= now ? "expired" : "valid";
}

void PrintTable(const v1::ListTokensResponse& all, const Context& context) {
  const absl::Time now = absl::Now();
  Table table({"TOKEN", "PRINCIPAL", "ROLE", "STATE", "CREATED", "EXPIRES", "LAST USED"});
  for (const v1::Token& token : all.tokens()) {
    table.AddRow({PlainText(std::string(absl::StripPrefix(token.name(), kPrefix))),
                  PlainText(token.principal()), EnumText(token.role()), StateOf(token, now),
                  FormatAge(token.create_time(), now),
                  token.has_expire_time() ? FormatTimestamp(token.expire_time()) : "never",
                  token.has_last_use_time() ? FormatAge(token.last_use_time(), now) : "-"});
  }
  table.Print(context.out(), context.table_columns(), context.env.utf8);
  context.out().flush();
}

}  // namespace

int RunTokenCreate(const TokenCreateOptions& options, const Context& context) {
  v1::CreateTokenRequest request;
  request.set_principal(options.principal);
  const google::protobuf::EnumValueDescriptor* role =
      FindEnumText(*v1::Role_descriptor(), options.role);
  if (role == nullptr) {
    return PrintUsageError(
        absl::StrCat("--role: ", NoSuchEnumText(*v1::Role_descriptor(), options.role)), context);
  }
  request.set_role(static_cast<v1::Role>(role->number()));
  if (options.ttl == "never") {
    request.mutable_ttl();
  } else if (!options.ttl.empty()) {
    if (const absl::Status read = ReadGrace(options.ttl, request.mutable_ttl()); !read.ok())
      return PrintError(Annotate(read, "--ttl"), context);
  }
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  // Never repeated: a second call would create a second token.
  const absl::StatusOr<v1::CreateTokenResponse> response =
      (*connection)->CallOnly<v1::CreateTokenResponse>(request);
  if (!response.ok()) return PrintError(response.status(), context);
  if (!IsForPeople(context.form)) {
    PrintMessage(*response, context.form, context.out());
    return kDone;
  }
  context.out() << PlainText(response->secret()) << std::endl;
  const v1::Token& token = response->token();
  context.err() << PlainText(token.name()) << ": " << EnumText(token.role()) << " "
                << PlainText(token.principal()) << ", "
                << (token.has_expire_time()
                        ? absl::StrCat("until ", FormatTimestamp(token.expire_time()))
                        : "does not expire")
                << "; the secret is shown only now, write it to a file of mode 0600" << std::endl;
  return kDone;
}

int RunTokenLs(const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::ListTokensRequest request;
  request.set_page_size(kPageSize);
  const auto all = ReadAllPages<v1::ListTokensResponse>(**connection, request);
  if (!all.ok()) return PrintError(all.status(), context);
  if (IsForPeople(context.form)) {
    PrintTable(*all, context);
  } else {
    PrintList(*all, all->tokens(), context.form, context.out());
  }
  return kDone;
}

int RunTokenRevoke(const std::string& name, const Context& context) {
  const absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  v1::RevokeTokenRequest request;
  request.set_name(absl::StartsWith(name, kPrefix) ? name : absl::StrCat(kPrefix, name));
  const absl::StatusOr<v1::Token> token = (*connection)->Call<v1::Token>(request);
  if (!token.ok()) return PrintError(token.status(), context);
  if (IsForPeople(context.form)) {
    context.out() << PlainText(token->name()) << " of " << PlainText(token->principal())
                  << " is revoked; its open streams end within 5 s" << std::endl;
  } else {
    PrintMessage(*token, context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
