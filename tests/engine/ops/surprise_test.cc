// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/surprise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/ops/op_table.h"
#include "tests/engine/ops/op_inputs.h"

namespace trainerd::engine {
namespace {

// The measures' definitions, in fp64.
at::Tensor ExactSurprise(const at::Tensor& logits, const at::Tensor& targets,
                         SurpriseMeasure measure) {
  const at::Tensor index = targets.unsqueeze(1), log_p = at::log_softmax(logits.to(at::kDouble), 1),
                   p = log_p.exp(), target_p = p.gather(1, index).squeeze(1);
  switch (measure) {
    case SurpriseMeasure::kEntropy:
      return -(p * log_p).sum(1);
    case SurpriseMeasure::kConfidence:
      return 1.0 - p.amax(1);
    case SurpriseMeasure::kPerplexity:
      return 1.0 / (target_p + 1e-10);
    case SurpriseMeasure::kMargin:
      return (1.0 - target_p + p.scatter(1, index, 0.0).amax(1)).clamp(0.0, 1.0);
  }
  return {};
}

TEST(SurpriseTest, EqualsItsDefinition) {
  at::manual_seed(5);
  const at::Tensor logits = at::randn({200, 300}) * at::linspace(0.0, 12.0, 200).unsqueeze(1),
                   targets = at::randint(300, {200}, at::TensorOptions().dtype(at::kLong)),
                   likely = at::where(at::rand({200}) < 0.5, logits.argmax(1), targets);
  for (const OpTable* ops : {&ReferenceOps(), &CpuOps()}) {
    for (const SurpriseMeasure measure : kMeasures) {
      SCOPED_TRACE(::testing::Message() << ops->name << " " << static_cast<int>(measure));
      const at::Tensor expected = ExactSurprise(logits, likely, measure),
                       actual = ops->surprise(logits, likely, measure).to(at::kDouble);
      // Confidence and margin subtract from 1 what is close to it.
      EXPECT_LE(((actual - expected).abs() / (expected.abs() + 0.03)).max().item<double>(), 2e-5);
    }
  }
}

// A row of one certain token, one without any probability on the target, and one of infinities.
TEST(SurpriseTest, ExtremeRowsAreFinite) {
  const at::Tensor targets = at::zeros({3}, at::TensorOptions().dtype(at::kLong));
  at::Tensor logits = at::full({3, 40}, -1e4);
  logits[0][0] = 1e4, logits[1][7] = 1e4, logits[2].fill_(-std::numeric_limits<float>::infinity());
  logits[2][0] = 0.0, logits[2][1] = 0.0;
  const double ln2 = std::log(2.0);
  const std::vector<std::vector<double>> expected = {
      {0, 0, ln2}, {0, 0, 0.5}, {1, 1e10, 2}, {0, 1, 1}};
  for (const OpTable* ops : {&ReferenceOps(), &CpuOps()}) {
    for (size_t m = 0; m < 4; ++m) {
      const at::Tensor values = ops->surprise(logits, targets, kMeasures[m]);
      for (int64_t r = 0; r < 3; ++r) {
        const double e = expected[m][static_cast<size_t>(r)];
        EXPECT_NEAR(values[r].item<double>(), e, 1e-6 * std::max(1.0, e)) << ops->name << m << r;
      }
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
