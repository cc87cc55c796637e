// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/notify_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string JobFaults(const std::string& notify) {
  v1::JobConfig config;
  std::vector<ConfigViolation> violations =
      YamlToMessage("model: {path: /m}\ndata: {train: [/d]}\nnotify: " + notify, &config)
          .violations;
  ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
  return ViolationsText(violations);
}

std::string ServerFaults(const std::string& yaml) {
  v1::ServerConfig config;
  std::vector<ConfigViolation> violations = YamlToMessage(yaml, &config).violations;
  ResolveServerConfig(config, &violations);
  return ViolationsText(violations);
}

TEST(CheckNotifyTest, TakesTargetsAndAddresses) {
  EXPECT_EQ(JobFaults("[{target: pager}, {url: 'https://a.example.com/x', events: [alert, best]}]"),
            "");
}

TEST(CheckNotifyTest, NamesEachFault) {
  EXPECT_THAT(JobFaults("[{events: [ended]}]"), HasSubstr("notify[0]: has neither target nor url"));
  EXPECT_THAT(JobFaults("[{target: a}, {target: a, url: 'http://a'}]"),
              HasSubstr("notify[1]: has both target and url"));
  EXPECT_THAT(JobFaults("[{url: 'http://u:p@a/'}]"), HasSubstr("notify[0].url: "));
  EXPECT_THAT(JobFaults("[{url: 'file:///etc/passwd'}]"), HasSubstr("notify[0].url: "));
  EXPECT_THAT(JobFaults("[{target: a, events: [started]}]"), HasSubstr("notify[0].events"));
  EXPECT_THAT(JobFaults("[{command: [/bin/sh]}]"), HasSubstr("command"));
  std::string many = "[{target: a}";
  for (int i = 0; i < 32; ++i) many += ", {target: a}";
  EXPECT_THAT(JobFaults(many + "]"), HasSubstr("notify: has 33 entries; the limit is 32"));
}

TEST(CheckNotifyTargetsTest, FillsInDefaults) {
  v1::ServerConfig config;
  std::vector<ConfigViolation> violations =
      YamlToMessage("notify: [{name: pager, command: [/bin/true]}]", &config).violations;
  const v1::ServerConfig resolved = ResolveServerConfig(config, &violations);
  EXPECT_EQ(ViolationsText(violations), "");
  ASSERT_EQ(resolved.notify_size(), 1);
  EXPECT_TRUE(resolved.notify(0).all_jobs());
  EXPECT_THAT(resolved.notify(0).events(),
              ::testing::ElementsAre(v1::NOTIFY_EVENT_ENDED, v1::NOTIFY_EVENT_STALLED));
}

TEST(CheckNotifyTargetsTest, NamesEachFaultWithoutTheAddress) {
  const std::string faults = ServerFaults(
      "notify:\n"
      "- {name: Pager, command: [/bin/true]}\n"
      "- {name: a, url: 'http://user:s3cret@a/'}\n"
      "- {name: a, url: 'https://a', command: [/bin/true]}\n"
      "- {name: b}\n"
      "- {name: c, command: [mail, me]}\n"
      "- {name: d, command: [/bin/true], secret_file: /s, job_hosts: [a]}\n"
      "- {name: e, url: 'https://a', secret_file: /s, job_hosts: ['*.example.com']}\n"
      "- {name: f, command: [/bin/true], label_selector: 'a in b'}\n"
      "- {command: [/bin/true]}\n");
  for (const char* fault :
       {"notify[0].name: \"Pager\"", "notify[1].url: ", "notify[1].secret_file: is required",
        "notify[2]: has both url and command", "notify[2].name: \"a\" is the name of two",
        "notify[3]: has neither url nor command", "notify[4].command: \"mail\"",
        "notify[5].secret_file: applies only with url", "notify[5].job_hosts: applies only",
        "notify[6].job_hosts[0]: ", "notify[7].label_selector: ", "notify[8].name"}) {
    EXPECT_THAT(faults, HasSubstr(fault));
  }
  EXPECT_THAT(faults, Not(HasSubstr("s3cret")));
}

}  // namespace
}  // namespace trainerd
