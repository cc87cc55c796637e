// SPDX-License-Identifier: Apache-2.0
// Matrix products of the engine in one place, so that the fastest routine for the machine is chosen
// once.
//
// CPU: LibTorch's at::mm takes MKL for fp32, which runs AVX2 code on AMD processors; oneDNN inside
// the same library runs AVX-512 there (2.3 times as fast on Zen 5). It is reached by
// at::native::mkldnn_matmul, an exported function without a header: linked weakly, at::mm where it
// is missing. The choice depends on the CPU model and the shape alone, never on a measurement, so
// that a run repeats bit for bit.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine {

// out = a·b. Shapes: a [M, K], b [K, N], out [M, N] contiguous; a and b may be transposed views;
// one dtype and device.
void MatMulOut(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);
at::Tensor MatMul(const at::Tensor& a, const at::Tensor& b);

// out += a·b, all in one dtype; the sum is rounded once. `out` may be some columns of a matrix.
void AddProduct(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

// out += a·b with out in fp32 or bf16 and a, b in the compute dtype: how a weight's gradient is
// accumulated. In bf16 on the CPU the product is rounded to bf16 before it is added; on CUDA it
// stays fp32.
void AddMatMul(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

}  // namespace trainerd::engine
