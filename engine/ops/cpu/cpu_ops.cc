// SPDX-License-Identifier: Apache-2.0
// The CPU's table: tensors in, rows of pointers to the kernels of kernels.h, split over ATen's
// threads.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "engine/ops/cpu/block_sums.h"
#include "engine/ops/cpu/cpu_attention.h"
#include "engine/ops/cpu/cpu_low_rank.h"
#include "engine/ops/cpu/cpu_nf4.h"
#include "engine/ops/cpu/parallel.h"
#include "engine/ops/cpu/typed.h"
#include "engine/ops/lora/dropout_bits.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace cpu {
namespace {

at::TensorOptions FloatOptions() { return at::TensorOptions().dtype(at::kFloat); }

RmsNormResult RmsNormForward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                             double eps) {
  TRAINERD_CHECK(x.is_contiguous() && (!delta.defined() || delta.is_contiguous()));
  const int64_t rows = x.size(0), columns = x.size(1);
  RmsNormResult result;
  result.sum_TD = delta.defined() ? at::empty_like(x) : x.detach();
  result.normed_TD = at::empty_like(x);
  result.rstd_T = at::empty({rows}, FloatOptions());
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, rows, RowGrain(columns), [&](int64_t begin, int64_t end) {
      const int64_t at = begin * columns;
      kernels.rms_norm_forward(Data<T>(x) + at, delta.defined() ? Data<T>(delta) + at : nullptr,
                               Data<T>(weight), Data<T>(result.sum_TD) + at,
                               Data<T>(result.normed_TD) + at, Data<float>(result.rstd_T) + begin,
                               end - begin, columns, static_cast<float>(eps));
    });
  });
  return result;
}

at::Tensor RmsNormApply(const at::Tensor& sum, const at::Tensor& rstd, const at::Tensor& weight) {
  TRAINERD_CHECK(sum.is_contiguous());
  const int64_t columns = sum.size(1);
  at::Tensor out = at::empty_like(sum);
  WithType(sum.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, sum.size(0), RowGrain(columns), [&](int64_t begin, int64_t end) {
      kernels.rms_norm_apply(Data<T>(sum) + begin * columns, Data<float>(rstd) + begin,
                             Data<T>(weight), Data<T>(out) + begin * columns, end - begin, columns);
    });
  });
  return out;
}

at::Tensor RmsNormBackward(const at::Tensor& d_sum, const at::Tensor& d_normed,
                           const at::Tensor& sum, const at::Tensor& rstd, const at::Tensor& weight,
                           const at::Tensor& weight_grad) {
  TRAINERD_CHECK(d_normed.is_contiguous() && sum.is_contiguous() &&
                 (!d_sum.defined() || d_sum.is_contiguous()));
  const int64_t columns = sum.size(1);
  const RowBlocks blocks(sum.size(0));
  const at::Tensor d_x = d_sum.defined() ? d_sum : at::empty_like(sum);
  const at::Tensor partial = at::zeros({blocks.count, columns}, FloatOptions());
  WithType(sum.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, blocks.count, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        const int64_t begin = blocks.Begin(block), at = begin * columns;
        kernels.rms_norm_backward(d_sum.defined() ? Data<T>(d_sum) + at : nullptr,
                                  Data<T>(d_normed) + at, Data<T>(sum) + at,
                                  Data<float>(rstd) + begin, Data<T>(weight),
                                  Data<float>(partial) + block * columns, Data<T>(d_x) + at,
                                  blocks.End(block) - begin, columns);
      }
    });
  });
  if (weight_grad.defined()) AddBlocks(partial, weight_grad);
  return d_x;
}

template <typename T>
HeadRows<T> RowsFrom(const at::Tensor& heads, int64_t row) {
  HeadRows<T> rows = Rows<T>(heads);
  rows.data += row * rows.stride;
  return rows;
}

void Rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  TRAINERD_CHECK(IsHeadRows(x) && cos.is_contiguous() && sin.is_contiguous());
  const int64_t heads = x.size(1), head_dim = x.size(2), half = head_dim / 2;
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, x.size(0), RowGrain(heads * head_dim), [&](int64_t begin, int64_t end) {
      kernels.rope(RowsFrom<T>(x, begin), Data<float>(cos) + begin * half,
                   Data<float>(sin) + begin * half, end - begin, heads, head_dim, inverse);
    });
  });
}

void NormRopeForward(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& cos, const at::Tensor& sin, double eps) {
  TRAINERD_CHECK(IsHeadRows(x) && IsHeadRows(out) && cos.is_contiguous() && sin.is_contiguous());
  const int64_t heads = x.size(1), head_dim = x.size(2), half = head_dim / 2;
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, x.size(0), RowGrain(heads * head_dim), [&](int64_t begin, int64_t end) {
      const HeadRows<T> from = RowsFrom<T>(x, begin);
      kernels.norm_rope_forward(RowsFrom<T>(out, begin), {from.data, from.stride}, Data<T>(weight),
                                Data<float>(cos) + begin * half, Data<float>(sin) + begin * half,
                                end - begin, heads, head_dim, static_cast<float>(eps));
    });
  });
}

void NormRopeBackward(const at::Tensor& d, const at::Tensor& x, const at::Tensor& weight,
                      const at::Tensor& weight_grad, const at::Tensor& cos, const at::Tensor& sin,
                      double eps) {
  TRAINERD_CHECK(IsHeadRows(x) && IsHeadRows(d) && cos.is_contiguous() && sin.is_contiguous());
  const int64_t heads = x.size(1), head_dim = x.size(2), half = head_dim / 2;
  const RowBlocks blocks(x.size(0));
  const at::Tensor partial = at::zeros({blocks.count, head_dim}, FloatOptions());
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, blocks.count, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        const int64_t begin = blocks.Begin(block);
        const HeadRows<T> from = RowsFrom<T>(x, begin);
        kernels.norm_rope_backward(RowsFrom<T>(d, begin), {from.data, from.stride}, Data<T>(weight),
                                   Data<float>(partial) + block * head_dim,
                                   Data<float>(cos) + begin * half, Data<float>(sin) + begin * half,
                                   blocks.End(block) - begin, heads, head_dim,
                                   static_cast<float>(eps));
      }
    });
  });
  if (weight_grad.defined()) AddBlocks(partial, weight_grad);
}

at::Tensor SwiGluForward(const at::Tensor& gate_up) {
  TRAINERD_CHECK(gate_up.is_contiguous());
  const int64_t size = gate_up.size(1) / 2;
  at::Tensor out = at::empty({gate_up.size(0), size}, gate_up.options());
  WithType(gate_up.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, gate_up.size(0), RowGrain(4 * size), [&](int64_t begin, int64_t end) {
      kernels.swiglu_forward(Data<T>(gate_up) + begin * 2 * size, Data<T>(out) + begin * size,
                             end - begin, size);
    });
  });
  return out;
}

at::Tensor SwiGluBackward(const at::Tensor& d_out, const at::Tensor& gate_up) {
  TRAINERD_CHECK(gate_up.is_contiguous() && d_out.is_contiguous());
  const int64_t size = gate_up.size(1) / 2;
  // The saved input is not needed any more: its gradient takes its place.
  WithType(gate_up.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, gate_up.size(0), RowGrain(4 * size), [&](int64_t begin, int64_t end) {
      T* rows = Data<T>(gate_up) + begin * 2 * size;
      kernels.swiglu_backward(Data<T>(d_out) + begin * size, rows, rows, end - begin, size);
    });
  });
  return gate_up;
}

// Calls body(kernels, rows, first row) for ranges of rows.
template <typename Body>
void ForLogitRows(const at::Tensor& logits, const at::Tensor& targets, const Body& body) {
  TRAINERD_CHECK(logits.is_contiguous() && targets.is_contiguous());
  const int64_t columns = logits.size(1);
  WithType(logits.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, logits.size(0), RowGrain(8 * columns), [&](int64_t begin, int64_t end) {
      body(kernels,
           LogitRows<T>{.logits = Data<T>(logits) + begin * columns,
                        .targets = Data<int64_t>(targets) + begin,
                        .rows = end - begin,
                        .columns = columns},
           begin);
    });
  });
}

at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& targets,
                        const at::Tensor& weights, const CrossEntropyOptions& options) {
  TRAINERD_CHECK(!weights.defined() || weights.is_contiguous());
  at::Tensor losses = at::empty({logits.size(0)}, FloatOptions());
  const CrossEntropyScalars scalars{.scale = static_cast<float>(options.scale),
                                    .label_smoothing = static_cast<float>(options.label_smoothing),
                                    .with_gradient = options.with_gradient};
  ForLogitRows(logits, targets, [&](const auto& kernels, const auto& rows, int64_t first) {
    kernels.cross_entropy(rows, weights.defined() ? Data<float>(weights) + first : nullptr,
                          Data<float>(losses) + first, scalars);
  });
  return losses;
}

at::Tensor Surprise(const at::Tensor& logits, const at::Tensor& targets, SurpriseMeasure measure) {
  at::Tensor values = at::empty({logits.size(0)}, FloatOptions());
  ForLogitRows(logits, targets, [&](const auto& kernels, const auto& rows, int64_t first) {
    kernels.surprise(rows, Data<float>(values) + first, measure);
  });
  return values;
}

void EmbeddingBackward(const at::Tensor& d, const at::Tensor& ids, const at::Tensor& weight_grad) {
  const at::Tensor rows = d.contiguous(), index = ids.contiguous();
  const int64_t count = rows.size(0), columns = rows.size(1);
  // Each thread has a range of columns and walks the tokens in order: no two threads meet, and a
  // repeated token adds up in a fixed order.
  constexpr int64_t kColumns = 64;
  const int64_t blocks = (columns + kColumns - 1) / kColumns;
  WithType(d.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(
        0, blocks, std::max<int64_t>(1, 32768 / (kColumns * std::max<int64_t>(1, count))),
        [&](int64_t first, int64_t last) {
          const int64_t begin = first * kColumns, size = std::min(columns, last * kColumns) - begin;
          for (int64_t t = 0; t < count; ++t) {
            kernels.accumulate(Data<float>(weight_grad) + Data<int64_t>(index)[t] * columns + begin,
                               Data<T>(rows) + t * columns + begin, size);
          }
        });
  });
}

void AddColumnSums(const at::Tensor& out, const at::Tensor& d) {
  TRAINERD_CHECK(d.is_contiguous());
  const int64_t columns = d.size(1);
  const RowBlocks blocks(d.size(0));
  const at::Tensor partial = at::zeros({blocks.count, columns}, FloatOptions());
  WithType(d.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, blocks.count, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        for (int64_t row = blocks.Begin(block); row < blocks.End(block); ++row) {
          kernels.accumulate(Data<float>(partial) + block * columns, Data<T>(d) + row * columns,
                             columns);
        }
      }
    });
  });
  AddBlocks(partial, out);
}

// Elements of a flat buffer that one thread takes at a time.
constexpr int64_t kFlatBlock = 1 << 16;

at::Tensor Dropout(const at::Tensor& x, const at::Tensor& row_keys, uint64_t key,
                   double probability) {
  TRAINERD_CHECK(x.is_contiguous() && row_keys.is_contiguous());
  const int64_t columns = x.size(1);
  const uint32_t threshold = DropoutThreshold(probability);
  const float factor = static_cast<float>(1.0 / (1.0 - probability));
  at::Tensor out = at::empty_like(x);
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, x.size(0), RowGrain(columns), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels.dropout(Data<T>(x) + t * columns, Data<T>(out) + t * columns,
                        DropoutRow(key, Data<int64_t>(row_keys)[t]), columns, threshold, factor);
      }
    });
  });
  return out;
}

void Accumulate(const at::Tensor& out, const at::Tensor& x) {
  TRAINERD_CHECK(out.is_contiguous() && x.is_contiguous());
  WithType(x.scalar_type(), [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, x.numel(), kFlatBlock, [&](int64_t begin, int64_t end) {
      kernels.accumulate(Data<float>(out) + begin, Data<T>(x) + begin, end - begin);
    });
  });
}

AdamWScalars ScalarsOf(const AdamWUpdate& u) {
  const double correction1 = 1.0 - std::pow(u.beta1, u.step),
               correction2 = 1.0 - std::pow(u.beta2, u.step);
  return {.decay = static_cast<float>(1.0 - u.learning_rate * u.weight_decay),
          .beta1 = static_cast<float>(u.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - u.beta1),
          .beta2 = static_cast<float>(u.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - u.beta2),
          .inverse_root_correction2 = static_cast<float>(1.0 / std::sqrt(correction2)),
          .step_size = static_cast<float>(u.learning_rate / correction1),
          .eps = static_cast<float>(u.eps),
          .gradient_factor = static_cast<float>(u.gradient_factor)};
}

void AdamW(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& exp_avg,
           const at::Tensor& exp_avg_sq, const at::Tensor& value, const AdamWUpdate& update) {
  const AdamWScalars scalars = ScalarsOf(update);
  WithType(value.defined() ? value.scalar_type() : at::kFloat, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, master.numel(), kFlatBlock, [&](int64_t begin, int64_t end) {
      kernels.adamw(Data<float>(master) + begin, Data<float>(grad) + begin,
                    Data<float>(exp_avg) + begin, Data<float>(exp_avg_sq) + begin,
                    value.defined() ? Data<T>(value) + begin : nullptr, end - begin, scalars);
    });
  });
}

// `moment` from element `begin`, the first of a block.
MomentPointers PointersAt(const QuantizedMoment& moment, int64_t begin) {
  return {.codes = Data<uint8_t>(moment.codes) + begin,
          .absmax = Data<float>(moment.absmax) + begin / kMomentBlock,
          .values = Data<float>(moment.code->values),
          .nearest = Data<uint8_t>(moment.code->nearest)};
}

void AdamW8bit(const at::Tensor& master, const at::Tensor& grad, const QuantizedMoment& exp_avg,
               const QuantizedMoment& exp_avg_sq, const at::Tensor& value,
               const AdamWUpdate& update) {
  const AdamWScalars scalars = ScalarsOf(update);
  const int64_t size = master.numel(), blocks = (size + kMomentBlock - 1) / kMomentBlock;
  WithType(value.defined() ? value.scalar_type() : at::kFloat, [&](const auto& kernels, auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, blocks, kFlatBlock / kMomentBlock, [&](int64_t first, int64_t last) {
      const int64_t begin = first * kMomentBlock, end = std::min(size, last * kMomentBlock);
      kernels.adamw_8bit(Data<float>(master) + begin, Data<float>(grad) + begin,
                         PointersAt(exp_avg, begin), PointersAt(exp_avg_sq, begin),
                         value.defined() ? Data<T>(value) + begin : nullptr, end - begin, scalars);
    });
  });
}

at::Tensor SumOfSquares(const at::Tensor& x) {
  TRAINERD_CHECK(x.is_contiguous());
  const int64_t blocks = (x.numel() + kFlatBlock - 1) / kFlatBlock;
  at::Tensor partial =
      at::empty({std::max<int64_t>(1, blocks)}, at::TensorOptions().dtype(at::kDouble));
  double* sums = Data<double>(partial);
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kFlatBlock;
      sums[block] = BestKernels().sum_of_squares(Data<float>(x) + begin,
                                                 std::min(kFlatBlock, x.numel() - begin));
    }
  });
  double total = 0.0;
  for (int64_t block = 0; block < blocks; ++block) total += sums[block];
  partial[0] = total;
  return partial[0];
}

}  // namespace
}  // namespace cpu

const OpTable& CpuOps() {
  static const OpTable table = {
      .name = "cpu",
      .rms_norm_forward = cpu::RmsNormForward,
      .rms_norm_apply = cpu::RmsNormApply,
      .rms_norm_backward = cpu::RmsNormBackward,
      .rope = cpu::Rope,
      .norm_rope_forward = cpu::NormRopeForward,
      .norm_rope_backward = cpu::NormRopeBackward,
      .attention_forward = cpu::AttentionForward,
      .attention_backward = cpu::AttentionBackward,
      .swiglu_forward = cpu::SwiGluForward,
      .swiglu_backward = cpu::SwiGluBackward,
      .cross_entropy = cpu::CrossEntropy,
      .surprise = cpu::Surprise,
      .embedding_backward = cpu::EmbeddingBackward,
      .add_column_sums = cpu::AddColumnSums,
      .dropout = cpu::Dropout,
      .low_rank_forward = cpu::LowRankForward,
      .low_rank_backward = cpu::LowRankBackward,
      .accumulate = cpu::Accumulate,
      .adamw = cpu::AdamW,
      .adamw_8bit = cpu::AdamW8bit,
      .sum_of_squares = cpu::SumOfSquares,
      .dequantize_nf4 = cpu::DequantizeNf4,
  };
  return table;
}

}  // namespace trainerd::engine
