// SPDX-License-Identifier: Apache-2.0
// Vector kernels of the CPU table over plain pointers and ranges of rows. One source (kernels.inc)
// is compiled for each level of CpuLevel; nothing here knows of tensors or threads. Sizes need not
// be multiples of the vector length. Sums over a row run in a fixed order. Element types: float, or
// BFloat (the bits of a bfloat16).
#pragma once

#include <cstdint>

#include "engine/ops/moment_blocks.h"
#include "engine/ops/surprise.h"
#include "engine/platform/cpu_level.h"
#include "proto/base/split_mix.h"

namespace trainerd::engine::cpu {

struct BFloat {
  uint16_t bits;
};

// Rows of one head of a tensor [T, heads, H]: row t begins at data + t × stride.
template <typename T>
struct HeadRows {
  T* data = nullptr;
  int64_t stride = 0;
};

// One document and one key/value head with the group of query heads that share it. Pointers are at
// the document's first token; query head g of the group is `g × head_dim` elements further.
template <typename T>
struct AttentionTask {
  HeadRows<const T> q, k, v, out, d_out;  // out and d_out: backward only
  HeadRows<T> result;                     // forward: the output
  HeadRows<T> dq, dk, dv;                 // backward
  float* lse = nullptr;                   // row t of query head g at lse[t × lse_stride + g]
  int64_t lse_stride = 0;
  int64_t length = 0;
  int64_t head_dim = 0;
  int64_t group = 1;
  int64_t window = 0;
  float scale = 1.0f;
};

// Rows of logits with their targets.
template <typename T>
struct LogitRows {
  T* logits = nullptr;
  const int64_t* targets = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
};

struct CrossEntropyScalars {
  float scale = 1.0f;
  float label_smoothing = 0.0f;
  bool with_gradient = true;
};

struct AdamWScalars {
  float decay;  // 1 − learning rate × weight decay
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float inverse_root_correction2;  // 1 / sqrt(1 − beta2^step)
  float step_size;                 // learning rate / (1 − beta1^step)
  float eps, gradient_factor;
};

// As QuantizedMoment.
struct MomentPointers {
  uint8_t* codes;
  float* absmax;
  const float* values;     // of DynamicCode
  const uint8_t* nearest;  // of DynamicCode
};

template <typename T>
struct TypedKernels {
  // sum = x + delta (null: not written, x is used); out = sum × rstd rounded, × weight.
  void (*rms_norm_forward)(const T* x, const T* delta, const T* weight, T* sum, T* out, float* rstd,
                           int64_t rows, int64_t columns, float eps);
  // out = sum × rstd rounded, × weight: the forward's result again.
  void (*rms_norm_apply)(const T* sum, const float* rstd, const T* weight, T* out, int64_t rows,
                         int64_t columns);
  // d_x may be d_sum (null: 0). weight_grad [columns] is added to.
  void (*rms_norm_backward)(const T* d_sum, const T* d_normed, const T* sum, const float* rstd,
                            const T* weight, float* weight_grad, T* d_x, int64_t rows,
                            int64_t columns);
  // Rows of `heads` heads, in place; cos and sin [rows, H / 2].
  void (*rope)(HeadRows<T> x, const float* cos, const float* sin, int64_t rows, int64_t heads,
               int64_t head_dim, bool inverse);
  void (*norm_rope_forward)(HeadRows<T> out, HeadRows<const T> x, const T* weight, const float* cos,
                            const float* sin, int64_t rows, int64_t heads, int64_t head_dim,
                            float eps);
  void (*norm_rope_backward)(HeadRows<T> d, HeadRows<const T> x, const T* weight,
                             float* weight_grad, const float* cos, const float* sin, int64_t rows,
                             int64_t heads, int64_t head_dim, float eps);
  void (*swiglu_forward)(const T* gate_up, T* out, int64_t rows, int64_t size);
  void (*swiglu_backward)(const T* d_out, const T* gate_up, T* d_gate_up, int64_t rows,
                          int64_t size);
  // As OpTable::cross_entropy and OpTable::surprise; `weights` may be null.
  void (*cross_entropy)(const LogitRows<T>& rows, const float* weights, float* losses,
                        const CrossEntropyScalars& scalars);
  void (*surprise)(const LogitRows<T>& rows, float* values, SurpriseMeasure measure);
  // One row of OpTable::dropout: `row` from DropoutRow, `factor` 1 / (1 − probability).
  void (*dropout)(const T* x, T* out, uint64_t row, int64_t columns, uint32_t threshold,
                  float factor);
  // Scratch floats that one task needs.
  int64_t (*attention_scratch)(int64_t length, int64_t head_dim);
  void (*attention_forward)(const AttentionTask<T>& task, float* scratch);
  void (*attention_backward)(const AttentionTask<T>& task, float* scratch);
  // out[i] += x[i].
  void (*accumulate)(float* out, const T* x, int64_t count);
  // `value` may be null.
  void (*adamw)(float* master, const float* grad, float* exp_avg, float* exp_avg_sq, T* value,
                int64_t count, const AdamWScalars& scalars);
  // `count` elements that begin at a block. `value` may be null.
  void (*adamw_8bit)(float* master, const float* grad, const MomentPointers& exp_avg,
                     const MomentPointers& exp_avg_sq, T* value, int64_t count,
                     const AdamWScalars& scalars);
};

// A matrix whose element (i, k) is at data[i × row + k × column].
struct Strided {
  const float* data;
  int64_t row, column;
};

struct Kernels {
  CpuLevel level;
  TypedKernels<float> f32;
  TypedKernels<BFloat> bf16;
  double (*sum_of_squares)(const float* x, int64_t count);
  // Floats in a vector.
  int64_t width;
  // C [rows, columns] (+)= A [rows, depth]·B [depth, columns]; columns a multiple of `width`. An
  // element is the same sum in the same order wherever its row lies.
  void (*small_gemm)(int64_t rows, int64_t columns, int64_t depth, Strided a, const float* b,
                     int64_t ldb, float* c, int64_t ldc, bool accumulate);
};

const Kernels& BaselineKernels();
const Kernels& Avx2Kernels();
const Kernels& Avx512Kernels();
// Those of DetectCpuLevel().
const Kernels& BestKernels();

}  // namespace trainerd::engine::cpu
