// SPDX-License-Identifier: Apache-2.0
// Matrices in 4-bit NormalFloat with double quantization: how QLoRA keeps frozen weights.
//
// Format and rounding are those of bitsandbytes 0.50.2 on the CPU (quantize_4bit: nf4, blocks of
// 64, compress_statistics), bit for bit:
// - A block is 64 elements of the row-major matrix, whatever its rows are; the last block may be
//   shorter. Its scale is its largest magnitude.
// - An element × (1 ÷ scale) becomes the nearest of 16 levels, the lower one at a tie. In a last
//   block that is shorter it is element ÷ scale. Blocks of 0 are divided by 1e-38.
// - Two codes per byte, the first one in the upper half.
// - The mean of the scales is subtracted. The differences are quantized to 8 bits in blocks of 256
//   (signed DynamicCode), each with its largest magnitude as an fp32 scale.
// An element is level × (8-bit level × fp32 scale + mean), each operation rounded to fp32, then
// rounded to the compute dtype.
// Source: Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs" (2023).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace trainerd::engine {

// Elements that share a scale, and scales that share an fp32 scale.
inline constexpr int64_t kNf4Block = 64;
inline constexpr int64_t kNf4ScaleBlock = 256;

// Quantiles of the normal distribution, scaled to [-1, 1]; code i stands for level i.
// Source: as above, appendix E.
inline constexpr std::array<float, 16> kNf4Levels = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// One quantized matrix: about 4.13 bits per element.
struct Nf4Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  at::Tensor codes;         // uint8 [(elements + 1) / 2]
  at::Tensor scales;        // uint8 [blocks]
  at::Tensor scale_scales;  // fp32 [(blocks + 255) / 256]
  at::Tensor scale_mean;    // fp32 [1]
  // What the codes of scales stand for, for table entries in a library of their own: fp32 [256] on
  // the CPU, the same memory for all matrices.
  at::Tensor scale_levels;

  // Memory for a matrix of 0.
  static Nf4Matrix Zeros(int64_t rows, int64_t columns, at::Device device);

  int64_t elements() const { return rows * columns; }
  static int64_t BytesFor(int64_t rows, int64_t columns);
};

// Writes the quantized values to `matrix`, which may be on another device. `values`: contiguous
// [rows, columns] on the CPU in fp32, bf16 or fp16, finite; its memory needs no alignment. Needs
// memory for 1/16 of a byte per element. The result does not depend on the number of threads.
void QuantizeNf4(const at::Tensor& values, const Nf4Matrix& matrix);

// Writes the matrix to `out` [rows, columns], contiguous, fp32 or bf16, on the matrix's device.
void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out);

}  // namespace trainerd::engine
