// SPDX-License-Identifier: Apache-2.0
#include "server/store/steady_clock.h"

#include "proto/base/time.h"
#include "server/store/schema.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

const absl::Time kNoon = absl::FromUnixSeconds(1'800'000'000);

class SteadyClockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto db = Connection::Open(dir_ / "trainerd.db", {});
    ASSERT_OK(db.status());
    db_ = *std::move(db);
    ASSERT_OK(Migrate(*db_, dir_ / "trainerd.db", Migrations()).status());
  }
  SteadyClock Open(const std::string& boot, absl::Time system_now) {
    auto clock = SteadyClock::Open(*db_, boot, system_now);
    EXPECT_TRUE(clock.ok()) << clock.status();
    return *clock;
  }
  static bool IsSoonAfter(absl::Time time, absl::Time begin) {
    return time >= begin - absl::Milliseconds(1) && time < begin + absl::Minutes(1);
  }

  TempDir dir_;
  std::unique_ptr<Connection> db_;
};

TEST_F(SteadyClockTest, BeginsWithTheSystemTime) {
  EXPECT_TRUE(IsSoonAfter(Open("a", kNoon).Now(), kNoon));
}

TEST_F(SteadyClockTest, AdvancesWithTheMonotonicClock) {
  const SteadyClock clock = Open("a", kNoon);
  const absl::Duration before = clock.Now() - trainerd::SteadyNow();
  absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LT(absl::AbsDuration(clock.Now() - trainerd::SteadyNow() - before), absl::Milliseconds(1));
}

// The daemon restarts after the system's clock was changed.
TEST_F(SteadyClockTest, ContinuesInTheSameBootWhateverTheSystemTimeIs) {
  Open("a", kNoon);
  for (const absl::Duration jump : {absl::Hours(24), -absl::Hours(24), absl::Hours(1)}) {
    EXPECT_TRUE(IsSoonAfter(Open("a", kNoon + jump).Now(), kNoon)) << jump;
  }
}

TEST_F(SteadyClockTest, BeginsAnewAfterABoot) {
  Open("a", kNoon);
  const absl::Time later = kNoon + absl::Hours(30);
  EXPECT_TRUE(IsSoonAfter(Open("b", later).Now(), later));
  EXPECT_TRUE(IsSoonAfter(Open("b", kNoon).Now(), later)) << "the new boot's clock is kept";
}

}  // namespace
}  // namespace trainerd::server
