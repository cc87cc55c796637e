// SPDX-License-Identifier: Apache-2.0
// ResolveServerConfig: the rules of the daemon's settings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

std::string ServerFaults(const std::string& yaml, v1::ServerConfig* resolved = nullptr) {
  v1::ServerConfig config;
  std::vector<ConfigViolation> violations = YamlToMessage(yaml, &config).violations;
  const v1::ServerConfig result = ResolveServerConfig(config, &violations);
  if (resolved != nullptr) *resolved = result;
  return ViolationsText(violations);
}

TEST(ResolveServerConfigTest, FillsInDefaults) {
  v1::ServerConfig config;
  EXPECT_EQ(ServerFaults("", &config), "");
  ASSERT_EQ(config.listen_size(), 1);
  EXPECT_EQ(config.listen(0), "unix");
  EXPECT_FALSE(config.has_state_dir());
  EXPECT_EQ(config.max_queued_jobs(), 100000);
  EXPECT_EQ(config.retry_backoff().seconds(), 5);
  EXPECT_EQ(config.metrics_retention().seconds(), 2592000);
  EXPECT_EQ(config.log_level(), v1::ServerConfig::LOG_LEVEL_INFO);
}

TEST(ResolveServerConfigTest, OnlyLocalAddressesAreTaken) {
  for (const char* good : {"unix", "127.0.0.1:0", "127.0.0.1:50051", "'[::1]:65535'", "unix:/run/t",
                           "[unix]", "[unix, 127.0.0.1:0, 'unix:/run/t']"})
    EXPECT_EQ(ServerFaults(std::string("listen: ") + good), "") << good;
  for (const char* bad : {"0.0.0.0:1", "10.0.0.1:50051", "127.0.0.1", "'127.0.0.1:'",
                          "127.0.0.1:65536", "127.0.0.1:x", "'[::]:1'", "example.com:1",
                          "127.0.0.1.evil:1", "'unix:'", "[unix, 'x:1']"}) {
    EXPECT_THAT(ServerFaults(std::string("listen: ") + bad),
                HasSubstr("is refused: write unix, unix:PATH, 127.0.0.1:PORT or [::1]:PORT"))
        << bad;
  }
}

TEST(ResolveServerConfigTest, RangesAndOrder) {
  EXPECT_EQ(ServerFaults("max_watchers: 0"),
            "max_watchers: 0 is out of range; allowed: at least 1 streams");
  EXPECT_EQ(ServerFaults("retry_backoff: 10s\nretry_backoff_max: 9.9s"),
            "retry_backoff: is longer than retry_backoff_max; lower it or raise the other");
  EXPECT_EQ(ServerFaults("retry_backoff: 10s\nretry_backoff_max: 10s"), "");
  EXPECT_THAT(ServerFaults("log_level: verbose"),
              HasSubstr("is not one of trace, debug, info, warning, error"));
  EXPECT_THAT(ServerFaults("max_queue: 5"),
              HasSubstr("unknown key \"max_queue\" at the top level"));
}

}  // namespace
}  // namespace trainerd
