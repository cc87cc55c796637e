// SPDX-License-Identifier: Apache-2.0
// Rows of the table tokens. A secret is stored as its SHA-256 alone: it has 256 random bits, so
// nobody finds it from the hash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

struct TokenRow {
  int64_t number = 0;
  // TOKEN of tokens/TOKEN.
  std::string id;
  // SHA-256 of the secret.
  std::string hash;
  v1::Token token;
};

// `row.number` is not used.
absl::Status InsertToken(Connection& db, const TokenRow& row);
// Newest first, those before `before_number` (0 = all).
absl::StatusOr<std::vector<TokenRow>> ListTokenRows(Connection& db, int64_t before_number,
                                                    int limit);
absl::Status SetTokenRevoked(Connection& db, std::string_view id, absl::Time now);
absl::Status SetTokenUsed(Connection& db, std::string_view id, absl::Time minute);
// Removes the tokens that were revoked or have expired before `before`.
absl::Status PruneTokens(Connection& db, absl::Time before);

}  // namespace trainerd::server
