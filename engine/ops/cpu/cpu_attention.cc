// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cpu/cpu_attention.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "engine/ops/cpu/parallel.h"
#include "engine/ops/cpu/typed.h"
#include "engine/ops/reference/reference_ops.h"

namespace trainerd::engine::cpu {
namespace {

// The documents' spans, longest first.
struct Span {
  int64_t begin, length;
};

std::vector<Span> SortedSpans(const Documents& documents) {
  std::vector<Span> spans;
  for (size_t i = 0; i + 1 < documents.cu_seqlens_host.size(); ++i) {
    const int64_t begin = documents.cu_seqlens_host[i],
                  length = documents.cu_seqlens_host[i + 1] - begin;
    if (length > 0) spans.push_back({begin, length});
  }
  std::stable_sort(spans.begin(), spans.end(),
                   [](const Span& a, const Span& b) { return a.length > b.length; });
  return spans;
}

// Tensors of a call; those of the backward are undefined in the forward.
struct Tensors {
  at::Tensor q, k, v, lse, result, out, d_out, dq, dk, dv;
};

template <typename T>
HeadRows<T> At(const at::Tensor& heads, int64_t row, int64_t head) {
  using Element = std::remove_const_t<T>;
  if (!heads.defined()) return {};
  return {static_cast<Element*>(heads.data_ptr()) + row * heads.stride(0) + head * heads.size(2),
          heads.stride(0)};
}

template <typename T>
AttentionTask<T> MakeTask(const Tensors& t, const AttentionShape& shape, const Span& span,
                          int64_t kv_head) {
  const int64_t group = shape.num_heads / shape.num_kv_heads, head = kv_head * group;
  AttentionTask<T> task;
  task.q = At<const T>(t.q, span.begin, head);
  task.k = At<const T>(t.k, span.begin, kv_head);
  task.v = At<const T>(t.v, span.begin, kv_head);
  task.out = At<const T>(t.out, span.begin, head);
  task.d_out = At<const T>(t.d_out, span.begin, head);
  task.result = At<T>(t.result, span.begin, head);
  task.dq = At<T>(t.dq, span.begin, head);
  task.dk = At<T>(t.dk, span.begin, kv_head);
  task.dv = At<T>(t.dv, span.begin, kv_head);
  task.lse = Data<float>(t.lse) + span.begin * shape.num_heads + head;
  task.lse_stride = shape.num_heads;
  task.length = span.length;
  task.head_dim = shape.head_dim;
  task.group = group;
  task.window = shape.window;
  task.scale = static_cast<float>(shape.scale);
  return task;
}

template <typename T, typename Kernel>
void RunTasks(const Tensors& tensors, const Documents& documents, const AttentionShape& shape,
              int64_t (*scratch_size)(int64_t, int64_t), Kernel kernel) {
  const std::vector<Span> spans = SortedSpans(documents);
  if (spans.empty()) return;
  const int64_t per_thread = scratch_size(spans.front().length, shape.head_dim);
  const at::Tensor scratch =
      at::empty({at::get_num_threads(), per_thread}, at::TensorOptions().dtype(at::kFloat));
  int64_t pairs = 0;
  for (const Span& span : spans) pairs += span.length * span.length;
  ParallelTasks(static_cast<int64_t>(spans.size()) * shape.num_kv_heads,
                pairs * shape.num_heads * shape.head_dim, [&](int64_t task, int64_t thread) {
                  const Span& span = spans[static_cast<size_t>(task / shape.num_kv_heads)];
                  kernel(MakeTask<T>(tensors, shape, span, task % shape.num_kv_heads),
                         Data<float>(scratch) + thread * per_thread);
                });
}

}  // namespace

AttentionResult AttentionForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Documents& documents, const AttentionShape& shape) {
  if (shape.soft_cap > 0.0) return reference::AttentionForward(q, k, v, documents, shape);
  TRAINERD_CHECK(IsHeadRows(q) && IsHeadRows(k) && IsHeadRows(v));
  AttentionResult result;
  result.out_TNH = at::empty({q.size(0), shape.num_heads, shape.head_dim}, q.options());
  result.lse = at::empty({q.size(0), shape.num_heads}, q.options().dtype(at::kFloat));
  const Tensors tensors{.q = q, .k = k, .v = v, .lse = result.lse, .result = result.out_TNH};
  WithType(q.scalar_type(), [&](const auto& kernels, auto zero) {
    RunTasks<decltype(zero)>(tensors, documents, shape, kernels.attention_scratch,
                             kernels.attention_forward);
  });
  return result;
}

void AttentionBackward(const at::Tensor& d_out_TNH, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const AttentionResult& result,
                       const Documents& documents, const AttentionShape& shape,
                       const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv) {
  if (shape.soft_cap > 0.0) {
    reference::AttentionBackward(d_out_TNH, q, k, v, result, documents, shape, dq, dk, dv);
    return;
  }
  const at::Tensor d_out = IsHeadRows(d_out_TNH) ? d_out_TNH : d_out_TNH.contiguous();
  TRAINERD_CHECK(IsHeadRows(dq) && IsHeadRows(dk) && IsHeadRows(dv));
  const Tensors tensors{.q = q,
                        .k = k,
                        .v = v,
                        .lse = result.lse,
                        .out = result.out_TNH,
                        .d_out = d_out,
                        .dq = dq,
                        .dk = dk,
                        .dv = dv};
  WithType(q.scalar_type(), [&](const auto& kernels, auto zero) {
    RunTasks<decltype(zero)>(tensors, documents, shape, kernels.attention_scratch,
                             kernels.attention_backward);
  });
}

}  // namespace trainerd::engine::cpu
