// SPDX-License-Identifier: Apache-2.0
// In fp32 all products of an adapter go over the rows once, in blocks that stay in the cache: a
// library's product would read x, y and their gradients once for each. Everything else takes the
// reference's products.
#include "engine/ops/cpu/cpu_low_rank.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "engine/ops/cpu/block_sums.h"
#include "engine/ops/cpu/parallel.h"
#include "engine/ops/cpu/typed.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine::cpu {
namespace {

constexpr int64_t kRows = 16;  // rows that are read again from the cache

const Kernels& Best() {
  static const Kernels& kernels = BestKernels();
  return kernels;
}

bool IsMatrix(const at::Tensor& m) {
  return !m.defined() || (m.scalar_type() == at::kFloat && m.is_contiguous());
}

bool Fits(const at::Tensor& x, const at::Tensor& y, const LowRankWeights& weights) {
  const int64_t width = Best().width;
  const auto whole = [&](int64_t columns) { return columns % width == 0; };
  if (!x.is_cpu() || !IsMatrix(x) || y.scalar_type() != at::kFloat || y.stride(1) != 1)
    return false;
  if (!whole(x.size(1)) || !IsMatrix(weights.a.weight) || !IsMatrix(weights.a.grad)) return false;
  return std::all_of(weights.terms.begin(), weights.terms.end(), [&](const LowRankTerm& term) {
    return whole(term.b.weight.size(0)) && whole(term.b.weight.size(1)) &&
           IsMatrix(term.b.weight) && IsMatrix(term.b.grad);
  });
}

void Scale(float* x, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

// Contiguous. (ATen's copy takes several times as long for so few rows or columns.)
at::Tensor Transposed(const at::Tensor& m) {
  constexpr int64_t kTile = 16;
  const int64_t rows = m.size(0), columns = m.size(1);
  at::Tensor result = at::empty({columns, rows}, m.options());
  const float* from = Data<float>(m);
  float* to = Data<float>(result);
  at::parallel_for(0, (rows + kTile - 1) / kTile, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin * kTile; r < end * kTile && r < rows; r += kTile) {
      const int64_t last = std::min(rows, r + kTile);
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = r; i < last; ++i) to[c * rows + i] = from[i * columns + c];
      }
    }
  });
  return result;
}

// Where the gradients of a block of rows are summed: those of the transposed B, term by term, then
// that of A.
struct Sums {
  explicit Sums(const LowRankWeights& weights) : a(0), size(0) {
    for (const LowRankTerm& term : weights.terms) size += term.b.weight.numel();
    a = size;
    size += weights.a.weight.numel();
  }
  int64_t a, size;
};

// The rows [begin, end) of the backward; `sums` gets their gradients of the weights.
struct BackwardRows {
  const LowRankWeights& weights;
  const at::Tensor &d_y, &x, &u, &d_x;
  Sums layout;

  void Run(int64_t begin, int64_t end, float* sums) const {
    const int64_t ranks = u.size(1), depth = x.size(1);
    const auto gemm = Best().small_gemm;
    std::vector<float> d_u(static_cast<size_t>(kRows * ranks));
    for (int64_t first = begin; first < end; first += kRows) {
      const int64_t rows = std::min(kRows, end - first);
      const bool add = first > begin;
      BackwardTerms(first, rows, d_u.data(), sums, add);
      const float* x_rows = Data<float>(x) + first * depth;
      gemm(ranks, depth, rows, {d_u.data(), 1, ranks}, x_rows, depth, sums + layout.a, depth, add);
      if (!d_x.defined()) continue;
      gemm(rows, depth, ranks, {d_u.data(), ranks, 1}, Data<float>(weights.a.weight), depth,
           Data<float>(d_x) + first * d_x.stride(0), d_x.stride(0), /*accumulate=*/true);
    }
  }

  void BackwardTerms(int64_t first, int64_t rows, float* d_u, float* sums, bool add) const {
    const int64_t ranks = u.size(1), rank = ranks / static_cast<int64_t>(weights.terms.size());
    const int64_t stride = d_y.stride(0);
    const auto gemm = Best().small_gemm;
    for (size_t i = 0; i < weights.terms.size(); ++i) {
      const LowRankTerm& term = weights.terms[i];
      const int64_t outputs = term.b.weight.size(0), column = static_cast<int64_t>(i) * rank;
      const float* d = Data<float>(d_y) + first * stride + term.begin;
      gemm(rows, rank, outputs, {d, stride, 1}, Data<float>(term.b.weight), rank, d_u + column,
           ranks, /*accumulate=*/false);
      gemm(rank, outputs, rows, {Data<float>(u) + first * ranks + column, 1, ranks}, d, stride,
           sums, outputs, add);
      sums += outputs * rank;
    }
    Scale(d_u, rows * ranks, static_cast<float>(weights.scale));
  }
};

// grad [N, R] += the transposed of sum [R, N].
void AddTransposed(const float* sum, const at::Tensor& grad) {
  constexpr int64_t kTile = 16;
  const int64_t outputs = grad.size(0), rank = grad.size(1);
  float* to = Data<float>(grad);
  at::parallel_for(0, outputs, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += kTile) {
      const int64_t last = std::min(end, n + kTile);
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t i = n; i < last; ++i) to[i * rank + r] += sum[r * outputs + i];
      }
    }
  });
}

}  // namespace

at::Tensor LowRankForward(const at::Tensor& x, const at::Tensor& y, const LowRankWeights& weights) {
  if (!Fits(x, y, weights)) return ReferenceOps().low_rank_forward(x, y, weights);
  const int64_t depth = x.size(1), ranks = weights.a.weight.size(0);
  const at::Tensor u = at::empty({x.size(0), ranks}, x.options());
  const at::Tensor a_t = Transposed(weights.a.weight);
  std::vector<at::Tensor> b_t;
  for (const LowRankTerm& term : weights.terms) b_t.push_back(Transposed(term.b.weight));
  const auto gemm = Best().small_gemm;
  // As in ParallelTasks, a thread gets a million multiplications at least.
  const int64_t grain = std::max(kRows, (int64_t{1} << 20) / Sums(weights).size);
  at::parallel_for(0, x.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kRows) {
      const int64_t rows = std::min(kRows, end - first);
      float* u_rows = Data<float>(u) + first * ranks;
      gemm(rows, ranks, depth, {Data<float>(x) + first * depth, depth, 1}, Data<float>(a_t), ranks,
           u_rows, ranks, /*accumulate=*/false);
      Scale(u_rows, rows * ranks, static_cast<float>(weights.scale));
      for (size_t i = 0; i < b_t.size(); ++i) {
        const int64_t rank = b_t[i].size(0), outputs = b_t[i].size(1);
        gemm(rows, outputs, rank, {u_rows + static_cast<int64_t>(i) * rank, ranks, 1},
             Data<float>(b_t[i]), outputs,
             Data<float>(y) + first * y.stride(0) + weights.terms[i].begin, y.stride(0),
             /*accumulate=*/true);
      }
    }
  });
  return u;
}

void LowRankBackward(const LowRankWeights& weights, const at::Tensor& d_y, const at::Tensor& x,
                     const at::Tensor& u_TR, const at::Tensor& d_x) {
  if (!Fits(x, d_y, weights)) return ReferenceOps().low_rank_backward(weights, d_y, x, u_TR, d_x);
  const BackwardRows backward{weights, d_y, x, u_TR, d_x, Sums(weights)};
  // As many blocks for any number of threads.
  const int64_t rows = x.size(0), blocks = std::clamp<int64_t>((rows + 127) / 128, 1, 64);
  const at::Tensor sums = at::empty({blocks, backward.layout.size}, x.options());
  ParallelTasks(blocks, rows * backward.layout.size, [&](int64_t block, int64_t) {
    backward.Run(rows * block / blocks, rows * (block + 1) / blocks,
                 Data<float>(sums) + block * backward.layout.size);
  });
  AddBlocks(sums.narrow(0, 1, blocks - 1), sums.select(0, 0));
  const float* sum = Data<float>(sums);
  for (const LowRankTerm& term : weights.terms) {
    AddTransposed(sum, term.b.grad);
    sum += term.b.grad.numel();
  }
  AddBlocks(sums.narrow(0, 0, 1).narrow(1, backward.layout.a, weights.a.grad.numel()),
            weights.a.grad);
}

}  // namespace trainerd::engine::cpu
