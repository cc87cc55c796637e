// SPDX-License-Identifier: Apache-2.0
// Which event notifies whom.
#include "server/outbox/notify_targets.h"

#include <gmock/gmock.h>

#include <map>

#include "absl/strings/str_replace.h"
#include "proto/contract/config/enum_words.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr v1::NotifyEvent kEnded = v1::NOTIFY_EVENT_ENDED, kFailed = v1::NOTIFY_EVENT_FAILED,
                          kStalled = v1::NOTIFY_EVENT_STALLED, kAlert = v1::NOTIFY_EVENT_ALERT;

std::vector<v1::NotifyEvent> MeaningsOfText(const std::string& text) {
  return MeaningsOf(FromText<v1::Event>(text));
}

TEST(MeaningsOfTest, EndOfAJob) {
  for (const char* state : {"SUCCEEDED", "STOPPED", "CANCELLED"}) {
    EXPECT_THAT(MeaningsOfText(
                    "state_changed { from_state: RUNNING to_state: " + std::string(state) + " }"),
                ElementsAre(kEnded));
  }
  EXPECT_THAT(MeaningsOfText("state_changed { from_state: QUEUED to_state: FAILED }"),
              ElementsAre(kFailed, kEnded));
  for (const char* state : {"QUEUED", "STARTING", "RUNNING", "PAUSING", "PAUSED", "STOPPING"}) {
    EXPECT_THAT(
        MeaningsOfText("state_changed { from_state: RUNNING to_state: " + std::string(state) + "}"),
        IsEmpty());
  }
}

TEST(MeaningsOfTest, ConditionsAndAlertsThatAreRaised) {
  EXPECT_THAT(MeaningsOfText("condition_changed { condition { type: 'Stalled' active: true } }"),
              ElementsAre(kStalled));
  EXPECT_THAT(MeaningsOfText("condition_changed { condition { type: 'Stalled' } }"), IsEmpty());
  EXPECT_THAT(MeaningsOfText("condition_changed { condition { type: 'DiskLow' active: true } }"),
              IsEmpty());
  for (const char* severity : {"WARNING", "CRITICAL"}) {
    const std::string text = "alert { type: 'plateau' severity: " + std::string(severity);
    EXPECT_THAT(MeaningsOfText(text + " active: true }"), ElementsAre(kAlert));
    EXPECT_THAT(MeaningsOfText(text + " }"), IsEmpty());
  }
  EXPECT_THAT(MeaningsOfText("alert { type: 'plateau' severity: INFO active: true }"), IsEmpty());
  EXPECT_THAT(MeaningsOfText("metrics { step: 1 }"), IsEmpty());
  EXPECT_THAT(MeaningsOf(v1::Event()), IsEmpty());
}

TEST(MeaningsOfTest, EndOfAnEvaluationAndTheBestCheckpoint) {
  for (const char* state : {"COMPLETED", "FAILED", "EXPIRED", "CANCELLED"}) {
    EXPECT_THAT(MeaningsOfText("remote_eval { evaluation { state: " + std::string(state) + " } }"),
                ElementsAre(v1::NOTIFY_EVENT_EVALUATION));
  }
  EXPECT_THAT(MeaningsOfText("remote_eval { evaluation { state: LEASED } }"), IsEmpty());
  EXPECT_THAT(MeaningsOfText("checkpoint { kind: BECAME_BEST }"),
              ElementsAre(v1::NOTIFY_EVENT_BEST));
  EXPECT_THAT(MeaningsOfText("checkpoint { kind: VERIFIED }"), IsEmpty());
}

class NotifyTargetsTest : public ::testing::Test {
 protected:
  NotifyTargetsTest() {
    dir_.Write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    dir_.Write("open", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 0644);
    dir_.Write("nonsense", "s3cret\n");
  }
  absl::StatusOr<NotifyTargets> Create(const std::string& yaml) {
    v1::ServerConfig config;
    std::vector<ConfigViolation> violations =
        YamlToMessage(absl::StrReplaceAll(yaml, {{"DIR", dir_.path()}}), &config).violations;
    config = ResolveServerConfig(config, &violations);
    EXPECT_EQ(ViolationsText(violations), "");
    return NotifyTargets::Create(config);
  }
  // "target url event" of each recipient.
  std::vector<std::string> Recipients(const NotifyTargets& targets, const std::string& job_yaml,
                                      const std::vector<v1::NotifyEvent>& meanings) {
    v1::Job job;
    *job.mutable_config() = MakeConfig(job_yaml);
    std::vector<std::string> found;
    for (const Recipient& recipient : targets.RecipientsOf(job, meanings)) {
      found.push_back(recipient.target + " " + recipient.url + " " +
                      EnumText(*v1::NotifyEvent_descriptor(), recipient.event));
    }
    return found;
  }
  std::string Faults(const NotifyTargets& targets, const std::string& job_yaml) {
    std::vector<ConfigViolation> violations;
    targets.Check(MakeConfig(job_yaml), &violations);
    return ViolationsText(violations);
  }

  TempDir dir_;
};

constexpr char kTargets[] =
    "notify:\n"
    "- {name: all, command: [/bin/true], events: [ended, alert]}\n"
    "- {name: blue, command: [/bin/true], events: [failed, ended], label_selector: team=blue}\n"
    "- {name: hook, url: 'https://a.example.com/x', secret_file: DIR/secret, all_jobs: false,\n"
    "   job_hosts: [b.example.com, 'c.example.com:8443']}\n"
    "- {name: other, url: 'https://d.example.com/x', secret_file: DIR/secret, all_jobs: false,\n"
    "   job_hosts: [b.example.com, e.example.com], events: [stalled]}\n";

TEST_F(NotifyTargetsTest, SelectsByEventsLabelsAndWhatTheJobNames) {
  const absl::StatusOr<NotifyTargets> created = Create(kTargets);
  ASSERT_OK(created.status());
  const NotifyTargets& targets = *created;
  EXPECT_THAT(Recipients(targets, "", {kEnded}), ElementsAre("all  ended"));
  EXPECT_THAT(Recipients(targets, "labels: {team: blue}", {kFailed, kEnded}),
              ElementsAre("all  ended", "blue  failed"));
  EXPECT_THAT(Recipients(targets, "labels: {team: blue}", {kEnded}),
              ElementsAre("all  ended", "blue  ended"));
  EXPECT_THAT(Recipients(targets, "", {kStalled}), IsEmpty());
  EXPECT_THAT(Recipients(targets, "notify: [{target: hook}]", {kStalled}),
              ElementsAre("hook  stalled"));
  EXPECT_THAT(Recipients(targets, "notify: [{target: hook, events: [alert]}]", {kStalled}),
              IsEmpty());
}

TEST_F(NotifyTargetsTest, NotifiesEachTargetAndAddressOnce) {
  const absl::StatusOr<NotifyTargets> targets = Create(kTargets);
  ASSERT_OK(targets.status());
  // What the job names for a target is added to what the target is for.
  EXPECT_THAT(
      Recipients(*targets, "notify: [{target: all, events: [failed, ended]}]", {kFailed, kEnded}),
      ElementsAre("all  failed"));
  EXPECT_THAT(Recipients(*targets, "notify: [{target: all, events: [stalled]}]", {kStalled}),
              ElementsAre("all  stalled"));
  EXPECT_THAT(
      Recipients(*targets,
                 "notify: [{url: 'https://b.example.com/1'}, {url: 'https://b.example.com/2'},\n"
                 "  {url: 'https://b.example.com/1'}, {target: hook}]",
                 {kStalled}),
      ElementsAre("hook https://b.example.com/1 stalled", "hook https://b.example.com/2 stalled",
                  "hook  stalled"));
}

TEST_F(NotifyTargetsTest, TheFirstTargetThatListsAHostSigns) {
  const absl::StatusOr<NotifyTargets> targets = Create(kTargets);
  ASSERT_OK(targets.status());
  EXPECT_THAT(
      Recipients(*targets,
                 "notify: [{url: 'https://b.example.com/'}, "
                 "{url: 'https://e.example.com/'}]",
                 {kStalled}),
      ElementsAre("hook https://b.example.com/ stalled", "other https://e.example.com/ stalled"));
  const absl::StatusOr<internal::Delivery> delivery =
      targets->DeliveryTo("hook", "https://c.example.com:8443/y");
  ASSERT_OK(delivery.status());
  EXPECT_EQ(delivery->url(), "https://c.example.com:8443/y");
  EXPECT_EQ(delivery->secret_file(), dir_ / "secret");
  EXPECT_EQ(targets->DeliveryTo("hook", "")->url(), "https://a.example.com/x");
  EXPECT_THAT(targets->DeliveryTo("all", "")->command(), ElementsAre("/bin/true"));
}

TEST_F(NotifyTargetsTest, RefusesWhatIsNotOnAList) {
  const absl::StatusOr<NotifyTargets> targets = Create(kTargets);
  ASSERT_OK(targets.status());
  EXPECT_EQ(Faults(*targets, "notify: [{target: hook}, {url: 'https://b.example.com/'}]"), "");
  EXPECT_THAT(Faults(*targets, "notify: [{target: hok}]"),
              HasSubstr("notify[0].target: \"hok\" is not a target of trainerd.yaml; did you mean "
                        "\"hook\"?"));
  EXPECT_THAT(Faults(*targets, "notify: [{target: hook}, {url: 'https://evil.com/'}]"),
              HasSubstr("notify[1].url: "));
  EXPECT_THAT(Faults(*targets, "notify: [{url: 'https://c.example.com/'}]"),
              HasSubstr("job_hosts"));
  EXPECT_THAT(Faults(NotifyTargets(), "notify: [{target: hook}]"),
              HasSubstr("trainerd.yaml has none"));
  // What trainerd.yaml no longer has when it is delivered.
  EXPECT_TRUE(absl::IsNotFound(targets->DeliveryTo("gone", "").status()));
  EXPECT_TRUE(absl::IsNotFound(targets->DeliveryTo("hook", "https://evil.com/").status()));
}

TEST_F(NotifyTargetsTest, RefusesSecretsThatOthersCanReadWithoutQuotingThem) {
  for (const auto& [file, fault] : std::map<std::string, std::string>{
           {"open", "chmod 600"}, {"nonsense", "whsec_BASE64"}, {"absent", "absent"}}) {
    const absl::Status status =
        Create("notify: [{name: a, url: 'https://a', secret_file: DIR/" + file + "}]").status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(fault));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("s3cret")));
  }
  EXPECT_FALSE(Create("notify: [{name: a, command: [/no/such/program]}]").ok());
}

}  // namespace
}  // namespace trainerd::server
