// SPDX-License-Identifier: Apache-2.0
// The kernels behind the ops, as one table per implementation, and the one place that picks a table
// for a device. The plain ATen reference runs anywhere; fused implementations (ops/cpu, the CUDA
// plugin) replace entries. Kernels know nothing of autograd: rms_norm.h, rotary_attention.h,
// swiglu.h and so on do. The same tests run over every table. Legend: T tokens, D hidden size, N
// query heads, K key/value heads, H head size, F MLP size, V vocabulary, R rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/ops/dynamic_code.h"
#include "engine/ops/surprise.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

struct Nf4Matrix;

// Documents of a flat row of tokens: document i is [cu_seqlens[i], cu_seqlens[i + 1]).
struct Documents {
  at::Tensor cu_seqlens;                 // int32 [documents + 1], on the device
  std::vector<int32_t> cu_seqlens_host;  // the same
  int64_t max_seqlen = 0;
};

struct AttentionShape {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  double scale = 0.0;
  // Tokens that a position attends to, itself included; 0 = all before it.
  int64_t window = 0;
  // > 0: the scaled scores x become soft_cap × tanh(x / soft_cap).
  double soft_cap = 0.0;
};

struct RmsNormResult {
  at::Tensor sum_TD;     // x + delta in the compute dtype; x itself without delta
  at::Tensor normed_TD;  // sum ÷ rms(sum) rounded to the compute dtype, × weight
  at::Tensor rstd_T;     // fp32
};

struct AttentionResult {
  at::Tensor out_TNH;  // contiguous
  at::Tensor lse;      // fp32 log-sum-exp of each row of scores; its layout belongs to the table
  std::vector<at::Tensor> saved;  // what the table's backward needs besides
};

struct CrossEntropyOptions {
  double scale = 1.0;
  // Share e of the target distribution that is uniform over the vocabulary: 1 − e + e / V on the
  // target, e / V elsewhere.
  double label_smoothing = 0.0;
  bool with_gradient = true;
};

struct AdamWUpdate {
  double learning_rate = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  double gradient_factor = 1.0;
  int64_t step = 1;
};

// A moment in 8 bits: a code per element, and the largest magnitude of each block of
// kMomentBlock elements, which scales the code's value.
struct QuantizedMoment {
  at::Tensor codes;   // uint8, flat
  at::Tensor absmax;  // fp32, one per block
  const DynamicCode* code = nullptr;
};

struct OpTable {
  const char* name;

  // `delta` may be undefined.
  RmsNormResult (*rms_norm_forward)(const at::Tensor& x_TD, const at::Tensor& delta_TD,
                                    const at::Tensor& weight_D, double eps);
  // The normed rows again, bit for bit, from what the forward saved.
  at::Tensor (*rms_norm_apply)(const at::Tensor& sum_TD, const at::Tensor& rstd_T,
                               const at::Tensor& weight_D);
  // Gradient of the sum (undefined: 0) plus the gradient through the norm; may overwrite d_sum and
  // return it. Adds to weight_grad, unless it is undefined (a frozen weight).
  at::Tensor (*rms_norm_backward)(const at::Tensor& d_sum_TD, const at::Tensor& d_normed_TD,
                                  const at::Tensor& sum_TD, const at::Tensor& rstd_T,
                                  const at::Tensor& weight_D, const at::Tensor& weight_grad_D);

  // Rotates the heads of x in place: x is a view [T, heads, H] with any row stride; cos and sin are
  // fp32 [T, H / 2]. With a defined weight [H], each head is normalised (RMS over H, then × weight)
  // first. `inverse` rotates back (its gradient); weight must be undefined then.
  void (*rope)(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);
  // out = rope(rms_norm(x) × weight) for the heads of x [T, heads, H]; out has the same shape, both
  // may be strided in T.
  void (*norm_rope_forward)(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight_H,
                            const at::Tensor& cos, const at::Tensor& sin, double eps);
  // Overwrites d_out by the gradient of x; adds to weight_grad, unless it is undefined.
  void (*norm_rope_backward)(const at::Tensor& d_out, const at::Tensor& x,
                             const at::Tensor& weight_H, const at::Tensor& weight_grad_H,
                             const at::Tensor& cos, const at::Tensor& sin, double eps);

  // Causal attention inside each document. q [T, N, H], k and v [T, K, H], contiguous in the last
  // two dimensions, any row stride.
  AttentionResult (*attention_forward)(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const Documents& documents,
                                       const AttentionShape& shape);
  // Writes every element of dq, dk, dv (shapes of q, k, v).
  void (*attention_backward)(const at::Tensor& d_out_TNH, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const AttentionResult& result,
                             const Documents& documents, const AttentionShape& shape,
                             const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv);

  // [T, 2F] (gate | up) → silu(gate) × up [T, F].
  at::Tensor (*swiglu_forward)(const at::Tensor& gate_up);
  // Gradient of gate_up, which may be overwritten and returned.
  at::Tensor (*swiglu_backward)(const at::Tensor& d_out, const at::Tensor& gate_up);

  // fp32 [R] weight × cross-entropy of each row with its target (int64 [R]); weights fp32 [R],
  // undefined: 1. With gradient, logits [R, V] become scale × weight × (softmax − target
  // distribution) in place.
  at::Tensor (*cross_entropy)(const at::Tensor& logits_RV, const at::Tensor& targets_R,
                              const at::Tensor& weights_R, const CrossEntropyOptions& options);
  // fp32 [R] measure of each row. Does not change the logits.
  at::Tensor (*surprise)(const at::Tensor& logits_RV, const at::Tensor& targets_R,
                         SurpriseMeasure measure);

  // weight_grad[ids[t]] += d[t], in the order of t.
  void (*embedding_backward)(const at::Tensor& d_TD, const at::Tensor& ids_T,
                             const at::Tensor& weight_grad_VD);
  // out[c] += sum over rows of d[r, c]: a bias's gradient.
  void (*add_column_sums)(const at::Tensor& out, const at::Tensor& d);

  // x[t, i] ÷ (1 − probability) where the random number of (key, row_keys[t], i) is at least
  // DropoutThreshold(probability), else 0 (lora/dropout_bits.h). row_keys int64 [T].
  at::Tensor (*dropout)(const at::Tensor& x_TD, const at::Tensor& row_keys_T, uint64_t key,
                        double probability);

  // The terms of an adapter without dropout (lora/low_rank.h). u [T, R] = scale × x·Aᵀ of all
  // terms; adds each term's u·Bᵀ to its columns of y. x [T, in], y [T, out] with any row stride.
  at::Tensor (*low_rank_forward)(const at::Tensor& x, const at::Tensor& y,
                                 const LowRankWeights& weights);
  // Adds to the gradients of A and B, and the gradient of x to d_x unless that is undefined.
  void (*low_rank_backward)(const LowRankWeights& weights, const at::Tensor& d_y,
                            const at::Tensor& x, const at::Tensor& u_TR, const at::Tensor& d_x);

  // out += x for contiguous tensors of one shape, out in fp32, x in the compute dtype.
  void (*accumulate)(const at::Tensor& out, const at::Tensor& x);

  // One AdamW update of flat fp32 runs; `value` (defined in bf16) gets the new master rounded.
  void (*adamw)(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& exp_avg,
                const at::Tensor& exp_avg_sq, const at::Tensor& value, const AdamWUpdate& update);
  // The same with moments in 8 bits: dequantized, updated in fp32 and quantized again
  // (dynamic_code.h). One flat tensor: blocks begin at its first element.
  void (*adamw_8bit)(const at::Tensor& master, const at::Tensor& grad,
                     const QuantizedMoment& exp_avg, const QuantizedMoment& exp_avg_sq,
                     const at::Tensor& value, const AdamWUpdate& update);
  // fp64 scalar tensor: sum of squares of a flat fp32 tensor, in an order that does not depend on
  // the thread count.
  at::Tensor (*sum_of_squares)(const at::Tensor& x);

  // As DequantizeNf4 (nf4.h): every table gives the same bits.
  void (*dequantize_nf4)(const Nf4Matrix& matrix, const at::Tensor& out);
};

// Plain ATen, any device.
const OpTable& ReferenceOps();
// Fused kernels for the CPU.
const OpTable& CpuOps();

// The table for tensors on `device`: the registered one, else CpuOps on the CPU and ReferenceOps
// on every other device.
const OpTable& OpsFor(at::Device device);
// Registers the table of a device type. Call before any op runs, from one thread.
void RegisterOps(at::DeviceType device, const OpTable& table);
// Registers the table that the CUDA plugin provides, if `device` is a cuda device that OpenDevice
// has opened; else no effect. Call before any op runs, from one thread.
void RegisterDeviceOps(at::Device device);

}  // namespace trainerd::engine
