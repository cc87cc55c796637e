// SPDX-License-Identifier: Apache-2.0
// How often alerts are raised: over recorded and random curves of many shapes no type is raised or
// cleared twice within 500 steps, and none about the loss is raised while the loss is near zero.
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "engine/monitor/alerts.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kApart = 500;

struct Sample {
  StepMeasurement measured;
  Speed speed;
};
using Curve = std::vector<Sample>;

// The losses, with a gradient norm, a rate and a speed that raise nothing.
Curve FromLosses(const std::vector<double>& losses) {
  Curve curve;
  for (const double loss : losses) {
    const int64_t step = static_cast<int64_t>(curve.size()) + 1;
    curve.push_back({{.step = step, .loss = loss, .grad_norm = 1.0, .learning_rate = 1e-4},
                     {.tokens_per_second = 100, .baseline = 100}});
  }
  return curve;
}

// Loss without noise at a step of 0 … 1, and the relative noise.
struct Shape {
  std::string name;
  std::function<double(int64_t step, int64_t count)> level;
  double noise = 0;
  // Share of steps that are `spike` times as high.
  double spikes = 0;
  double spike = 1;
};

double Share(int64_t step, int64_t count) {
  return static_cast<double>(step) / static_cast<double>(count);
}

std::vector<Shape> Shapes() {
  const auto flat = [](double level) { return [level](int64_t, int64_t) { return level; }; };
  const auto falling = [](double from, double to) {
    return [from, to](int64_t s, int64_t n) { return from * std::pow(to / from, Share(s, n)); };
  };
  const auto saw = [](int64_t period) {
    return [period](int64_t s, int64_t) { return 2.0 + Share(s % period, period); };
  };
  const auto steps = [](int64_t period) {
    return [period](int64_t s, int64_t) { return s / period % 2 == 0 ? 3.0 : 1.2; };
  };
  const auto wave = [](double period) {
    return [period](int64_t s, int64_t) { return 2 + std::sin(static_cast<double>(s) / period); };
  };
  return {{"flat", flat(2), 0},
          {"noisy plateau", flat(2), 0.02},
          {"very noisy plateau", flat(2), 0.3},
          {"slow descent", falling(3, 1), 0.005},
          {"noisy slow descent", falling(3, 1), 0.1},
          {"fast descent", falling(8, 0.5), 0.05},
          {"slow rise", falling(1, 6), 0.05},
          {"short saw", saw(40), 0.02},
          {"long saw", saw(700), 0.02},
          {"steps of 60", steps(60), 0.05},
          {"steps of 550", steps(550), 0.05},
          {"wave", wave(90), 0.05},
          {"spikes", flat(1.5), 0.05, 0.02, 4},
          {"high spikes of a falling loss", falling(4, 0.6), 0.1, 0.05, 30}};
}

std::vector<double> Losses(const Shape& shape, int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> noise(0, 1);
  std::uniform_real_distribution<double> unit(0, 1);
  std::vector<double> losses;
  for (int64_t step = 0; step < count; ++step) {
    double loss = shape.level(step, count) * std::exp(shape.noise * noise(random));
    if (unit(random) < shape.spikes) loss *= shape.spike;
    losses.push_back(loss);
  }
  return losses;
}

std::vector<v1::Alert> Feed(const Curve& curve) {
  AlertRules rules{MonitorState{}};
  std::vector<v1::Alert> all;
  for (const Sample& sample : curve) {
    for (v1::Alert& alert : rules.OnStep(sample.measured, sample.speed)) {
      all.push_back(std::move(alert));
    }
  }
  return all;
}

// Raises and clears alternate, and neither comes twice within kApart steps.
void ExpectSeldom(const std::vector<v1::Alert>& alerts, const std::string& curve) {
  std::map<std::string, bool> active;
  std::map<std::pair<std::string, bool>, int64_t> last;
  for (const v1::Alert& alert : alerts) {
    EXPECT_NE(active[alert.type()], alert.active()) << curve << ": " << alert.ShortDebugString();
    active[alert.type()] = alert.active();
    const auto [before, first] = last.try_emplace({alert.type(), alert.active()}, alert.step());
    if (first) continue;
    EXPECT_GE(alert.step(), before->second + kApart) << curve << ": " << alert.ShortDebugString();
    before->second = alert.step();
  }
}

int Raised(const std::vector<v1::Alert>& alerts, const std::string& type) {
  int count = 0;
  for (const v1::Alert& alert : alerts) count += alert.active() && alert.type() == type;
  return count;
}

Curve Recorded() {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/monitor/small_job.txt");
  Curve curve;
  double fastest = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    double loss, norm, speed;
    if (!(words >> loss >> norm >> speed)) continue;
    fastest = std::max(fastest, speed);
    const int64_t step = static_cast<int64_t>(curve.size()) + 1;
    curve.push_back({{.step = step, .loss = loss, .grad_norm = norm, .learning_rate = 1e-4},
                     {.tokens_per_second = speed, .baseline = fastest}});
  }
  return curve;
}

TEST(AlertRateTest, RandomCurvesRaiseNoTypeTwiceInFiveHundredSteps) {
  for (const Shape& shape : Shapes()) {
    for (unsigned seed = 1; seed <= 12; ++seed) {
      const auto losses = Losses(shape, 1000 + 700 * seed, seed);
      ExpectSeldom(Feed(FromLosses(losses)), shape.name + ", seed " + std::to_string(seed));
    }
  }
}

// A job of 43,929 steps raised plateau 967 times.
TEST(AlertRateTest, LongNoisyJobReportsItsPlateauAFewTimes) {
  for (const double noise : {0.0, 0.01, 0.1, 0.3}) {
    for (unsigned seed = 1; seed <= 3; ++seed) {
      const auto level = [](int64_t step, int64_t count) {
        return 0.8 + 3 * std::exp(-30 * Share(step, count));
      };
      const auto alerts = Feed(FromLosses(Losses({"", level, noise}, 43'929, seed)));
      EXPECT_GE(Raised(alerts, "plateau"), 1) << noise << " " << seed;
      EXPECT_LE(Raised(alerts, "plateau"), 4) << noise << " " << seed;
    }
  }
}

TEST(AlertRateTest, RecordedJobRaisesNoTypeTwiceInFiveHundredSteps) {
  const Curve recorded = Recorded();
  ASSERT_EQ(recorded.size(), 1000u);
  ExpectSeldom(Feed(recorded), "recorded");
  EXPECT_LE(Raised(Feed(recorded), "plateau"), 1) << "the loss falls but in the warm-up";
}

// Values that cross every limit from step to step.
TEST(AlertRateTest, ValuesAtTheLimitsRaiseNoTypeTwiceInFiveHundredSteps) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> unit(0, 1);
    const double often = 0.3 + 0.65 * unit(random);
    const auto one_of = [&](double a, double b) { return unit(random) < often ? a : b; };
    Curve curve;
    for (int64_t step = 1; step <= 4000; ++step) {
      const double loss = one_of(2, one_of(9, std::numeric_limits<double>::quiet_NaN()));
      curve.push_back({{.step = step,
                        .loss = loss,
                        .grad_norm = one_of(1, one_of(1e-9, 1e3)),
                        .learning_rate = one_of(1e-3, one_of(1e-1, 1e-8))},
                       {.tokens_per_second = one_of(100, 10), .baseline = 100}});
    }
    const auto alerts = Feed(curve);
    ExpectSeldom(alerts, "seed " + std::to_string(seed));
    for (const char* type : {"non_finite", "exploding_gradient", "vanishing_gradient",
                             "learning_rate_high", "learning_rate_low", "throughput_drop"}) {
      EXPECT_GE(Raised(alerts, type), 1) << type << ", seed " << seed;
    }
  }
}

TEST(AlertRateTest, RaisesNothingAboutALossNearZero) {
  for (const double level : {1e-4, 0.01, 0.1, 0.2}) {
    for (unsigned seed = 1; seed <= 10; ++seed) {
      std::mt19937 random(seed);
      std::uniform_real_distribution<double> unit(0, 1);
      std::vector<double> losses;
      for (int i = 0; i < 3000; ++i) losses.push_back(std::min(0.299, level * 3 * unit(random)));
      Curve curve = FromLosses(losses);
      for (Sample& sample : curve) sample.measured.grad_norm = 1e-8 * unit(random);
      EXPECT_TRUE(Feed(curve).empty()) << level << ", seed " << seed;
    }
  }
}

// The job falls to near zero within a few epochs and stays there.
TEST(AlertRateTest, RaisesNothingOnceTheLossIsNearZero) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    const auto level = [](int64_t step, int64_t) {
      return 0.02 + 3 * std::exp(-static_cast<double>(step) / 150);
    };
    for (const v1::Alert& alert : Feed(FromLosses(Losses({"", level, 0.4}, 5000, seed)))) {
      EXPECT_FALSE(alert.active() && alert.step() > 600) << alert.ShortDebugString();
    }
  }
}

TEST(AlertRateTest, FindsALatePlateau) {
  for (const double noise : {0.01, 0.15}) {
    const auto level = [](int64_t step, int64_t) {
      return std::max(1.6, 8 * std::exp(-0.0006 * static_cast<double>(step)));
    };
    const auto alerts = Feed(FromLosses(Losses({"", level, noise}, 8000, 3)));
    std::vector<int64_t> raised;
    for (const v1::Alert& alert : alerts) {
      if (alert.type() == "plateau" && alert.active()) raised.push_back(alert.step());
    }
    ASSERT_EQ(raised.size(), 1u) << noise;
    EXPECT_GT(raised[0], 2600);
    EXPECT_LE(raised[0], 5000) << "two blocks of 500 steps, and two more for the noise";
  }
}

// The alert stays while the loss is as it was, and is cleared when it falls again.
TEST(AlertRateTest, ClearsAPlateauWhenTheLossFallsAgain) {
  const auto level = [](int64_t step, int64_t) { return step < 3000 ? 2.0 : 1.7; };
  for (const double noise : {0.0, 0.02, 0.2}) {
    auto alerts = Feed(FromLosses(Losses({"", level, noise}, 3900, 5)));
    std::erase_if(alerts, [](const v1::Alert& alert) { return alert.type() != "plateau"; });
    ASSERT_EQ(alerts.size(), 2u) << noise;
    EXPECT_LE(alerts[0].step(), 2500);
    EXPECT_FALSE(alerts[1].active());
    EXPECT_GT(alerts[1].step(), 3000);
    EXPECT_LE(alerts[1].step(), 3500);
  }
}

// A condition that still holds when the quiet time is over is reported then.
TEST(AlertRateTest, RaisesALastingConditionAfterTheQuietTime) {
  AlertRules rules{MonitorState{}};
  const auto feed = [&](int64_t step, double norm) {
    return rules.OnStep({.step = step, .grad_norm = norm}, {});
  };
  ASSERT_EQ(feed(1, 200).size(), 1u);
  ASSERT_EQ(feed(2, 1).size(), 1u);
  for (int64_t step = 3; step < 502; ++step) EXPECT_TRUE(feed(step, 200).empty()) << step;
  ASSERT_EQ(feed(502, 200).size(), 1u);
}

// A job that ends while it diverges is no plain success, however recently the alert was cleared.
TEST(AlertRateTest, RaisesACriticalConditionAtTheLastStep) {
  AlertRules rules{MonitorState{}, /*last_step=*/5};
  const auto feed = [&](int64_t step, double norm, double rate) {
    return rules.OnStep({.step = step, .grad_norm = norm, .learning_rate = rate}, {});
  };
  ASSERT_EQ(feed(1, 200, 0.1).size(), 2u);
  ASSERT_EQ(feed(2, 1, 1e-4).size(), 2u);
  EXPECT_TRUE(feed(3, 200, 0.1).empty());
  EXPECT_TRUE(feed(4, 200, 0.1).empty());
  const std::vector<v1::Alert> last = feed(5, 200, 0.1);
  ASSERT_EQ(last.size(), 1u) << "learning_rate_high is no critical alert";
  EXPECT_EQ(last[0].type(), "exploding_gradient");
  EXPECT_TRUE(last[0].active());
}

TEST(AlertRateTest, RestoredStateRaisesWhatAnUninterruptedJobRaises) {
  for (const Shape& shape : Shapes()) {
    const Curve curve = FromLosses(Losses(shape, 3000, 7));
    const auto expected = Feed(curve);
    std::mt19937 random(11);
    AlertRules rules{MonitorState{}};
    std::vector<v1::Alert> got;
    for (const Sample& sample : curve) {
      if (random() % 40 == 0) rules = AlertRules{rules.state()};
      for (v1::Alert& alert : rules.OnStep(sample.measured, sample.speed)) got.push_back(alert);
    }
    ASSERT_EQ(got.size(), expected.size()) << shape.name;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].SerializeAsString(), expected[i].SerializeAsString()) << shape.name;
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
