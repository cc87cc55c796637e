// SPDX-License-Identifier: Apache-2.0
// Signatures of webhooks by the Standard Webhooks specification
// (https://github.com/standard-webhooks/standard-webhooks), scheme v1: HMAC-SHA256.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace trainerd {

// The key of a secret in the form whsec_BASE64; white space around it is ignored. Errors:
// InvalidArgument for another form and for a key of less than 16 or more than 512 bytes. No error
// quotes the secret.
absl::StatusOr<std::string> ParseWebhookSecret(std::string_view text);

// What a signature covers.
struct SignedWebhook {
  std::string_view id;
  int64_t unix_seconds = 0;
  std::string_view body;
};
// The header webhook-signature: "v1,BASE64".
std::string WebhookSignature(const SignedWebhook& webhook, std::string_view key);

}  // namespace trainerd
