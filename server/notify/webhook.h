// SPDX-License-Identifier: Apache-2.0
// One POST of a webhook, by the Standard Webhooks specification. No redirects, no proxy, 3 s to
// connect, 10 s in all.
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::server {

struct Webhook {
  // http:// or https://
  std::string url;
  // Of ParseWebhookSecret.
  std::string key;
  // The header webhook-id: the same in every attempt.
  std::string id;
  int64_t unix_seconds = 0;
  // JSON.
  std::string body;
};

// Call once, before the first thread starts.
void InitWebhooks();

// Returns what went wrong, without the address and the receiver's answer; empty after a 2xx answer.
// Thread-safe.
std::string PostWebhook(const Webhook& webhook);

}  // namespace trainerd::server
