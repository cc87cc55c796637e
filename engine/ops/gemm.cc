// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/gemm.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "engine/ops/op_table.h"
#include "engine/platform/cpu_level.h"
#include "proto/base/status_macros.h"

namespace at::native {
// result = beta × result + alpha × a·b through oneDNN, in the operands' precision. Exported by
// libtorch_cpu 2.11; its header is not part of the wheel.
__attribute__((weak)) void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& result,
                                         float beta, float alpha);
}  // namespace at::native

namespace trainerd::engine {
namespace {

// oneDNN pays in fp32 where MKL falls back to AVX2 and the CPU has AVX-512.
bool UseOneDnn(const at::Tensor& a, const at::Tensor& b) {
  static const bool available =
      &at::native::mkldnn_matmul != nullptr && DetectCpuLevel() == CpuLevel::kAvx512;
  // Below this size the creation of the primitive costs more than it saves: half a millisecond for
  // each new shape, where 8 million multiplications take a tenth of that.
  constexpr int64_t kMinMultiplications = int64_t{1} << 23;
  return available && a.scalar_type() == at::kFloat && a.is_cpu() &&
         a.size(0) * a.size(1) * b.size(1) >= kMinMultiplications;
}

// Columns of the gradient of an adapter's B.
constexpr int64_t kNarrow = 64;

}  // namespace

void MatMulOut(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (a.size(0) == 0) return;
  if (UseOneDnn(a, b)) {
    at::native::mkldnn_matmul(a, b, out, /*beta=*/0.0f, /*alpha=*/1.0f);
  } else {
    at::mm_out(const_cast<at::Tensor&>(out), a, b);
  }
}

at::Tensor MatMul(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  MatMulOut(out, a, b);
  return out;
}

void AddProduct(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (a.size(0) == 0) return;
  if (UseOneDnn(a, b) && out.stride(1) == 1) {
    at::native::mkldnn_matmul(a, b, out, /*beta=*/1.0f, /*alpha=*/1.0f);
  } else {
    at::addmm_out(const_cast<at::Tensor&>(out), out, a, b);
  }
}

void AddMatMul(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (a.size(1) == 0) return;
  if (out.scalar_type() == at::kBFloat16) return AddProduct(out, a, b);
  if (a.scalar_type() == at::kFloat) {
    if (!UseOneDnn(a, b)) {
      at::addmm_out(const_cast<at::Tensor&>(out), out, a, b);
    } else if (b.size(1) <= kNarrow && b.size(1) < a.size(0)) {
      // oneDNN takes two thirds of the time with the long side in the columns.
      out.add_(MatMul(b.t(), a.t()).t());
    } else {
      at::native::mkldnn_matmul(a, b, out, /*beta=*/1.0f, /*alpha=*/1.0f);
    }
  } else if (a.is_cuda()) {
    at::addmm_out(const_cast<at::Tensor&>(out), out, a, b, at::kFloat);
  } else {
    OpsFor(out.device()).accumulate(out, at::mm(a, b));
  }
}

}  // namespace trainerd::engine
