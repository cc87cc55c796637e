// SPDX-License-Identifier: Apache-2.0
// The first vector is that of the Standard Webhooks specification. The others were computed with
// PyPI standardwebhooks 1.1.0 (Webhook(secret).sign).
#include "proto/base/secret/webhook_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSpecSecret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

std::string Sign(const std::string& secret, const SignedWebhook& webhook) {
  const absl::StatusOr<std::string> key = ParseWebhookSecret(secret);
  EXPECT_TRUE(key.ok()) << key.status();
  return key.ok() ? WebhookSignature(webhook, *key) : "";
}

TEST(WebhookSignatureTest, EqualsKnownVectors) {
  EXPECT_EQ(Sign(kSpecSecret, {.id = "msg_p5jXN8AQM9LWM0D4loKWxJek",
                               .unix_seconds = 1614265330,
                               .body = "{\"test\": 2432232314}"}),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  EXPECT_EQ(Sign("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                 {.id = "42",
                  .unix_seconds = 1796031234,
                  .body = "{\"type\":\"job.ended\",\"data\":{\"job\":{\"name\":\"jobs/ü\"}}}"}),
            "v1,5wt/1tNATDYJ5UhfZvHZcjcxCwKlavuxo8qRr5Vepjw=");
  EXPECT_EQ(
      Sign("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
           "AAAAAA==",
           {.id = "1", .unix_seconds = 0, .body = ""}),
      "v1,e+bD21PGE7Bq8YrqzHXm2lt5nEeHj9GsJwlCLUcH3ng=");
}

TEST(WebhookSignatureTest, CoversIdTimeAndBody) {
  const SignedWebhook webhook{.id = "1", .unix_seconds = 2, .body = "3"};
  const std::string signature = Sign(kSpecSecret, webhook);
  EXPECT_NE(Sign(kSpecSecret, {.id = "2", .unix_seconds = 2, .body = "3"}), signature);
  EXPECT_NE(Sign(kSpecSecret, {.id = "1", .unix_seconds = 3, .body = "3"}), signature);
  EXPECT_NE(Sign(kSpecSecret, {.id = "1", .unix_seconds = 2, .body = "4"}), signature);
  EXPECT_NE(Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", webhook), signature);
}

TEST(ParseWebhookSecretTest, TakesWhiteSpaceAroundIt) {
  EXPECT_EQ(ParseWebhookSecret(std::string(" ") + kSpecSecret + "\n").value_or(""),
            ParseWebhookSecret(kSpecSecret).value_or("-"));
}

TEST(ParseWebhookSecretTest, RefusesOtherFormsWithoutQuotingThem) {
  for (const std::string text :
       {"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8G KYqrTwjUPD8ILP!",
        "whsec_c2hvcnQ=", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}) {
    const absl::StatusOr<std::string> key = ParseWebhookSecret(text);
    EXPECT_FALSE(key.ok()) << text;
    EXPECT_THAT(std::string(key.status().message()), Not(HasSubstr("MfKQ"))) << text;
  }
  EXPECT_FALSE(ParseWebhookSecret("whsec_" + std::string(1000, 'A')).ok());
}

}  // namespace
}  // namespace trainerd
