// SPDX-License-Identifier: Apache-2.0
#include "server/local_files/status_mirror.h"

#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "proto/base/atomic_file.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StatusMirrorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open({.path = dir_ / "trainerd.db", .clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    mirror_ = std::make_unique<StatusMirror>(
        StatusMirror::Options{.path = dir_ / "status.json", .every = absl::Milliseconds(1)},
        *store_);
  }
  void End(const std::string& id) {
    clock_.Advance(absl::Seconds(1));
    ASSERT_OK(store_->Change([&](Transaction& t) {
      JobRecord record = *LoadJob(t.db(), id);
      return ApplyTransition(
          t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD, .actor = "a"},
          &record);
    }));
  }
  // Ids of the jobs in the file.
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    const std::string text = ReadFile(dir_ / "status.json").value_or("{}");
    const nlohmann::json document = nlohmann::json::parse(text);
    for (const nlohmann::json& job : document.value("jobs", nlohmann::json::array()))
      ids.push_back(JobId(job["name"].get<std::string>()));
    return ids;
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StatusMirror> mirror_;
};

TEST_F(StatusMirrorTest, HasTheOpenJobsAndTheLastEndedOnes) {
  ASSERT_OK(mirror_->WriteOnce());
  EXPECT_THAT(Ids(), IsEmpty());
  for (int i = 0; i < 30; ++i) AddJob(*store_, "j" + std::to_string(i), "/runs/j");
  ASSERT_OK(mirror_->WriteOnce());
  EXPECT_EQ(Ids().size(), 30u);
  // The oldest jobs end last.
  for (int i = 29; i >= 2; --i) End("j" + std::to_string(i));
  ASSERT_OK(mirror_->WriteOnce());
  const std::vector<std::string> ids = Ids();
  ASSERT_EQ(ids.size(), 22u);
  EXPECT_THAT(std::vector<std::string>(ids.begin(), ids.begin() + 4),
              ElementsAre("j1", "j0", "j2", "j3"));
}

TEST_F(StatusMirrorTest, FollowsChangesUntilItIsStopped) {
  mirror_->Start();
  AddJob(*store_, "a", "/runs/a");
  mirror_->OnChange();
  for (int i = 0; i < 3000 && Ids().empty(); ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_THAT(Ids(), ElementsAre("a"));
  AddJob(*store_, "b", "/runs/b");
  mirror_->OnChange();
  mirror_->Stop();
  EXPECT_THAT(Ids(), ElementsAre("b", "a")) << "the last change is written";
}

TEST_F(StatusMirrorTest, TriesAgainAfterAnError) {
  std::filesystem::create_directory(dir_ / "status.json");
  mirror_->Start();
  AddJob(*store_, "a", "/runs/a");
  mirror_->OnChange();
  absl::SleepFor(absl::Milliseconds(50));
  std::filesystem::remove(dir_ / "status.json");
  for (int i = 0; i < 3000 && Ids().empty(); ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_THAT(Ids(), ElementsAre("a"));
  mirror_->Stop();
}

}  // namespace
}  // namespace trainerd::server
