// SPDX-License-Identifier: Apache-2.0
// A stop during PrepareData: the progress function is called often, however long the records are,
// and an error of it ends the call.
#include <algorithm>

#include "absl/time/clock.h"
#include "tests/engine/data/prepare_fixture.h"

namespace trainerd::engine {
namespace {

class PrepareStopTest : public PrepareFixture {
 protected:
  // The longest time without a question, and the number of questions.
  struct Questions {
    absl::Duration longest;
    int count = 0;
  };
  Questions Ask(const v1::JobConfig& config) {
    absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
    EXPECT_TRUE(text.ok()) << text.status();
    Questions questions;
    absl::Time last = absl::Now();
    const auto data = PrepareData(config, *text,
                                  [&](double) {
                                    questions.longest =
                                        std::max(questions.longest, absl::Now() - last);
                                    last = absl::Now();
                                    ++questions.count;
                                    return absl::OkStatus();
                                  },
                                  {.num_threads = 2});
    EXPECT_TRUE(data.ok()) << data.status();
    return questions;
  }
};

TEST_F(PrepareStopTest, AsksOftenWithRecordsOfAnyLength) {
  for (const int length : {100, 20'000, 700'000}) {
    constexpr int kFileBytes = 24 << 20;
    v1::JobConfig config = Config(Numbered(kFileBytes / length, length));
    const Questions questions = Ask(config);
    EXPECT_GE(questions.count, (kFileBytes >> 20) / 2) << length;
    EXPECT_LT(questions.longest, absl::Seconds(1)) << length;
  }
}

TEST_F(PrepareStopTest, StopsInsideLineWithoutEnd) {
  v1::JobConfig config = Config("[" + std::string(64 << 20, ' '));
  absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
  ASSERT_TRUE(text.ok()) << text.status();
  int questions = 0;
  const auto data = PrepareData(
      config, *text,
      [&](double) { return ++questions == 3 ? absl::CancelledError("stop") : absl::OkStatus(); },
      {.num_threads = 2});
  EXPECT_TRUE(absl::IsCancelled(data.status())) << data.status();
  EXPECT_EQ(questions, 3);
}

}  // namespace
}  // namespace trainerd::engine
