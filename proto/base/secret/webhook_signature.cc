// SPDX-License-Identifier: Apache-2.0
#include "proto/base/secret/webhook_signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

constexpr char kPrefix[] = "whsec_";
// In BASE64: of 16 and of 512 bytes.
constexpr size_t kMinEncodedBytes = 22;
constexpr size_t kMaxEncodedBytes = 684;

std::string HmacSha256(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  TRAINERD_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                      reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest,
                      &size) != nullptr);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

}  // namespace

absl::StatusOr<std::string> ParseWebhookSecret(std::string_view text) {
  absl::string_view encoded =
      absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
  std::string key;
  if (!absl::ConsumePrefix(&encoded, kPrefix) || !absl::Base64Unescape(encoded, &key)) {
    return absl::InvalidArgumentError(
        "does not hold a secret of the form whsec_BASE64; write one with: echo \"whsec_$(openssl "
        "rand -base64 32)\"");
  }
  if (encoded.size() < kMinEncodedBytes || encoded.size() > kMaxEncodedBytes) {
    return absl::InvalidArgumentError(
        "holds a secret of less than 16 or more than 512 bytes; write one of 32 bytes");
  }
  return key;
}

std::string WebhookSignature(const SignedWebhook& webhook, std::string_view key) {
  const std::string content = absl::StrCat(
      absl::string_view(webhook.id.data(), webhook.id.size()), ".", webhook.unix_seconds, ".",
      absl::string_view(webhook.body.data(), webhook.body.size()));
  return absl::StrCat("v1,", absl::Base64Escape(HmacSha256(key, content)));
}

}  // namespace trainerd
