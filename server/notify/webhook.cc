// SPDX-License-Identifier: Apache-2.0
#include "server/notify/webhook.h"

#include <curl/curl.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "proto/base/secret/webhook_signature.h"
#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

constexpr long kConnectMs = 3000;
constexpr long kTotalMs = 10000;
// An answer is read, so that the receiver can finish it, and dropped. A longer one is cut off.
constexpr size_t kMaxAnswerBytes = 64 << 10;
constexpr char kUserAgent[] = "trainerd-notify/" TRAINERD_VERSION;

size_t DropAnswer(char*, size_t size, size_t count, void* total) {
  size_t& bytes = *static_cast<size_t*>(total);
  bytes += size * count;
  return bytes > kMaxAnswerBytes ? 0 : size * count;
}

struct FreeHeaders {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

// `line` is "NAME: VALUE".
void AddHeader(const std::string& line, Headers* headers) {
  curl_slist* longer = curl_slist_append(headers->get(), line.c_str());
  TRAINERD_CHECK(longer != nullptr);
  (void)headers->release();  // it is the beginning of the longer one
  headers->reset(longer);
}

Headers MakeHeaders(const Webhook& webhook) {
  const std::string signature = WebhookSignature(
      {.id = webhook.id, .unix_seconds = webhook.unix_seconds, .body = webhook.body}, webhook.key);
  Headers headers;
  AddHeader("content-type: application/json", &headers);
  AddHeader(absl::StrCat("webhook-id: ", webhook.id), &headers);
  AddHeader(absl::StrCat("webhook-timestamp: ", webhook.unix_seconds), &headers);
  AddHeader(absl::StrCat("webhook-signature: ", signature), &headers);
  // Removes curl's own: a long body is sent without waiting for permission.
  AddHeader("Expect:", &headers);
  return headers;
}

// The certificates of the authorities, where distributions have them. libcurl knows one place,
// that of the system on which it was built; nullptr = that one.
const char* CertificateBundle() {
  static constexpr const char* kPlaces[] = {
      "/etc/ssl/certs/ca-certificates.crt",  // Debian, Ubuntu, Arch
      "/etc/pki/tls/certs/ca-bundle.crt",    // Fedora, RHEL
      "/etc/ssl/ca-bundle.pem",              // openSUSE
      "/etc/ssl/cert.pem",                   // Alpine
  };
  for (const char* place : kPlaces) {
    if (::access(place, R_OK) == 0) return place;
  }
  return nullptr;
}

void SetOptions(CURL* curl, const Webhook& webhook, const Headers& headers, size_t* answer_bytes) {
  curl_easy_setopt(curl, CURLOPT_URL, webhook.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  if (const char* bundle = CertificateBundle(); bundle != nullptr)
    curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
  // Also those of the environment.
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kTotalMs);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, kUserAgent);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(webhook.body.size()));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, webhook.body.data());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, DropAnswer);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer_bytes);
}

// "" for 2xx. An error after the status line does not undo the receiver's answer.
std::string Outcome(CURLcode code, long status) {
  constexpr long kOk = 200, kRedirect = 300, kClientError = 400;
  if (status >= kOk && status < kRedirect) return "";
  if (status >= kRedirect && status < kClientError)
    return absl::StrCat("HTTP ", status, "; redirects are not followed");
  if (status > 0) return absl::StrCat("HTTP ", status);
  if (code == CURLE_OPERATION_TIMEDOUT)
    return absl::StrCat("no answer within ", kTotalMs / 1000, " s (", kConnectMs / 1000,
                        " s to connect)");
  // Its text names neither host nor address.
  return code == CURLE_OK ? "no HTTP answer" : curl_easy_strerror(code);
}

}  // namespace

void InitWebhooks() { TRAINERD_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); }

std::string PostWebhook(const Webhook& webhook) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 curl_easy_cleanup);
  TRAINERD_CHECK(curl != nullptr);
  const Headers headers = MakeHeaders(webhook);
  size_t answer_bytes = 0;
  SetOptions(curl.get(), webhook, headers, &answer_bytes);
  const CURLcode code = curl_easy_perform(curl.get());
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return Outcome(code, status);
}

}  // namespace trainerd::server
