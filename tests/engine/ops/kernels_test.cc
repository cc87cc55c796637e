// SPDX-License-Identifier: Apache-2.0
// The vector kernels of every level that this CPU has against the baseline ones: the same functions
// compiled for other instructions.
#include "engine/ops/cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace trainerd::engine::cpu {
namespace {

std::vector<const Kernels*> FusedLevels() {
  std::vector<const Kernels*> levels;
  if (DetectCpuLevel() >= CpuLevel::kAvx2) levels.push_back(&Avx2Kernels());
  if (DetectCpuLevel() >= CpuLevel::kAvx512) levels.push_back(&Avx512Kernels());
  return levels;
}

template <typename T>
T FromFloat(float x);
template <>
float FromFloat<float>(float x) {
  return x;
}
template <>
BFloat FromFloat<BFloat>(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}
float ToFloat(float x) { return x; }
float ToFloat(BFloat x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

template <typename T>
std::vector<T> Random(size_t count, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (T& value : values) value = FromFloat<T>(normal(random));
  return values;
}

template <typename T>
void ExpectNear(const std::vector<T>& actual, const std::vector<T>& expected, double tolerance,
                const char* what) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = ToFloat(actual[i]), e = ToFloat(expected[i]);
    difference += (a - e) * (a - e), norm += e * e;
  }
  EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm)) << what;
}

template <typename T>
const TypedKernels<T>& Typed(const Kernels& kernels) {
  if constexpr (std::is_same_v<T, float>) {
    return kernels.f32;
  } else {
    return kernels.bf16;
  }
}

template <typename T>
class KernelsTest : public ::testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6 : 6e-3;
};
using Types = ::testing::Types<float, BFloat>;
TYPED_TEST_SUITE(KernelsTest, Types);

TYPED_TEST(KernelsTest, EveryLevelIsItself) {
  EXPECT_EQ(BaselineKernels().level, CpuLevel::kBaseline);
  for (const Kernels* level : FusedLevels()) EXPECT_NE(level->level, CpuLevel::kBaseline);
  EXPECT_EQ(BestKernels().level, DetectCpuLevel());
}

TYPED_TEST(KernelsTest, SwiGluNormAndCrossEntropyAgree) {
  using T = TypeParam;
  constexpr int64_t kRows = 3, kColumns = 45;
  const auto x = Random<T>(kRows * 2 * kColumns, 1), weight = Random<T>(kColumns, 2),
             d = Random<T>(kRows * kColumns, 3);
  const std::vector<int64_t> targets = {0, 44, 17};
  const std::vector<float> weights = {1.0f, 0.25f, 3.0f};
  struct Results {
    std::vector<T> swiglu, swiglu_d, sum, normed, d_x, logits;
    std::vector<float> rstd, dw, losses, surprise;
  };
  const auto run = [&](const Kernels& level) {
    const TypedKernels<T>& k = Typed<T>(level);
    Results r;
    r.swiglu.resize(kRows * kColumns), r.swiglu_d.resize(x.size()), r.sum.resize(kRows * kColumns),
        r.normed.resize(kRows * kColumns);
    r.d_x.resize(kRows * kColumns), r.rstd.resize(kRows), r.dw.resize(kColumns),
        r.losses.resize(kRows);
    k.swiglu_forward(x.data(), r.swiglu.data(), kRows, kColumns);
    k.swiglu_backward(d.data(), x.data(), r.swiglu_d.data(), kRows, kColumns);
    k.rms_norm_forward(x.data(), d.data(), weight.data(), r.sum.data(), r.normed.data(),
                       r.rstd.data(), kRows, kColumns, 1e-6f);
    k.rms_norm_backward(x.data(), d.data(), r.sum.data(), r.rstd.data(), weight.data(), r.dw.data(),
                        r.d_x.data(), kRows, kColumns);
    r.logits.assign(x.begin(), x.begin() + kRows * kColumns);
    const LogitRows<T> rows{r.logits.data(), targets.data(), kRows, kColumns};
    r.surprise.resize(4 * kRows);
    k.surprise(rows, r.surprise.data(), SurpriseMeasure::kEntropy);
    k.surprise(rows, r.surprise.data() + kRows, SurpriseMeasure::kConfidence);
    k.surprise(rows, r.surprise.data() + 2 * kRows, SurpriseMeasure::kPerplexity);
    k.surprise(rows, r.surprise.data() + 3 * kRows, SurpriseMeasure::kMargin);
    k.cross_entropy(rows, weights.data(), r.losses.data(),
                    {.scale = 0.5f, .label_smoothing = 0.1f, .with_gradient = true});
    return r;
  };
  const Results expected = run(BaselineKernels());
  for (const Kernels* level : FusedLevels()) {
    const Results actual = run(*level);
    ExpectNear(actual.swiglu, expected.swiglu, this->kTolerance, "swiglu");
    ExpectNear(actual.swiglu_d, expected.swiglu_d, this->kTolerance, "swiglu backward");
    ExpectNear(actual.sum, expected.sum, 0.0, "sum");
    ExpectNear(actual.normed, expected.normed, this->kTolerance, "normed");
    ExpectNear(actual.d_x, expected.d_x, this->kTolerance, "norm backward");
    ExpectNear(actual.dw, expected.dw, 1e-5, "norm weight gradient");
    ExpectNear(actual.logits, expected.logits, this->kTolerance, "cross-entropy gradient");
    ExpectNear(actual.losses, expected.losses, 2e-6, "losses");
    ExpectNear(actual.surprise, expected.surprise, 2e-6, "surprise");
  }
}

TYPED_TEST(KernelsTest, AttentionAgrees) {
  using T = TypeParam;
  constexpr int64_t kLength = 75, kHead = 24, kGroup = 2;
  for (int64_t window : {0, 20}) {
    const auto q = Random<T>(kLength * kGroup * kHead, 4), k = Random<T>(kLength * kHead, 5),
               v = Random<T>(kLength * kHead, 6), d = Random<T>(kLength * kGroup * kHead, 7);
    struct Results {
      std::vector<T> out, dq, dk, dv;
    };
    const auto run = [&](const Kernels& level) {
      Results r;
      std::vector<float> lse(kLength * kGroup);
      r.out.resize(q.size()), r.dq.resize(q.size()), r.dk.resize(k.size()), r.dv.resize(v.size());
      AttentionTask<T> task;
      task.q = {q.data(), kGroup * kHead}, task.k = {k.data(), kHead}, task.v = {v.data(), kHead},
      task.result = {r.out.data(), kGroup * kHead};
      task.lse = lse.data(), task.lse_stride = kGroup, task.length = kLength, task.head_dim = kHead,
      task.group = kGroup, task.window = window, task.scale = 0.2f;
      const TypedKernels<T>& kernels = Typed<T>(level);
      std::vector<float> scratch(static_cast<size_t>(kernels.attention_scratch(kLength, kHead)));
      kernels.attention_forward(task, scratch.data());
      task.out = {r.out.data(), kGroup * kHead}, task.d_out = {d.data(), kGroup * kHead};
      task.dq = {r.dq.data(), kGroup * kHead}, task.dk = {r.dk.data(), kHead},
      task.dv = {r.dv.data(), kHead};
      kernels.attention_backward(task, scratch.data());
      return r;
    };
    const Results expected = run(BaselineKernels());
    for (const Kernels* level : FusedLevels()) {
      const Results actual = run(*level);
      ExpectNear(actual.out, expected.out, this->kTolerance, "out");
      ExpectNear(actual.dq, expected.dq, 2 * this->kTolerance, "dq");
      ExpectNear(actual.dk, expected.dk, 2 * this->kTolerance, "dk");
      ExpectNear(actual.dv, expected.dv, 2 * this->kTolerance, "dv");
    }
  }
}

}  // namespace
}  // namespace trainerd::engine::cpu
