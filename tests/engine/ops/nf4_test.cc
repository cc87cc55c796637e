// SPDX-License-Identifier: Apache-2.0
// Quantization and dequantization against bitsandbytes 0.50.2 on the CPU
// (tests/golden/adapter/nf4.json, from make_nf4_goldens.py), bit for bit; and their properties.
#include "engine/ops/nf4.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/ops/op_table.h"
#include "proto/base/hex.h"

namespace trainerd::engine {
namespace {

const nlohmann::json& Golden() {
  static const nlohmann::json golden = [] {
    std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/adapter/nf4.json");
    return nlohmann::json::parse(file);
  }();
  return golden;
}

// The functions of make_nf4_goldens.py.
uint32_t Hash32(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ (x >> 16);
}

std::vector<float> Numbers(const std::string& name, int64_t count) {
  uint32_t key = 0;
  for (unsigned char byte : name) key = key * 31 + byte;
  std::vector<float> result;
  for (uint32_t i = 0; i < static_cast<uint32_t>(count); ++i) {
    double total = 0.0;
    for (uint32_t part = 0; part < 4; ++part) {
      total += (static_cast<double>(Hash32(i * 4 + part + key) >> 12) - 524288.0) / 1048576.0;
    }
    const uint32_t exponent = Hash32(i / 64 + 77 + key) % 4;
    result.push_back(static_cast<float>(std::ldexp(total, -static_cast<int>(exponent))));
  }
  return result;
}

std::string Bytes(const at::Tensor& tensor) {
  return std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
}
std::string Hex(const at::Tensor& tensor) { return absl::BytesToHexString(Bytes(tensor)); }

std::string Checksum(const at::Tensor& tensor) {
  uint64_t sum = 0;
  uint32_t index = 0;
  for (unsigned char byte : Bytes(tensor)) sum += (uint64_t{byte} + 1) * Hash32(index++);
  return absl::StrFormat("%016x", sum);
}

at::Tensor Values(const std::string& name, const nlohmann::json& c) {
  const auto shape = c["shape"].get<std::vector<int64_t>>();
  std::vector<float> values = Numbers(name, shape[0] * shape[1]);
  if (c.contains("values")) {
    const std::string bytes = FromHex(c["values"].get<std::string>()).value();
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  const std::string dtype = c["dtype"];
  return at::from_blob(values.data(), shape, at::kFloat)
      .to(dtype == "float32" ? at::kFloat : (dtype == "bfloat16" ? at::kBFloat16 : at::kHalf),
          /*non_blocking=*/false, /*copy=*/true);
}

Nf4Matrix Quantized(const at::Tensor& values) {
  const Nf4Matrix matrix = Nf4Matrix::Zeros(values.size(0), values.size(1), at::kCPU);
  QuantizeNf4(values, matrix);
  return matrix;
}

at::Tensor Dequantized(const Nf4Matrix& matrix, at::ScalarType dtype, const OpTable& table) {
  const at::Tensor out =
      at::full({matrix.rows, matrix.columns}, 7.0, at::TensorOptions().dtype(dtype));
  table.dequantize_nf4(matrix, out);
  return out;
}

class Nf4GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(Nf4GoldenTest, StoresTheBitsOfBitsandbytes) {
  const nlohmann::json& c = Golden()["cases"][GetParam()];
  const at::Tensor values = Values(GetParam(), c);
  for (int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Nf4Matrix matrix = Quantized(values);
    const bool is_large = c["codes"].get<std::string>().size() == 16 && matrix.elements() > 64;
    EXPECT_EQ(is_large ? Checksum(matrix.codes) : Hex(matrix.codes), c["codes"]);
    EXPECT_EQ(is_large ? Checksum(matrix.scales) : Hex(matrix.scales), c["scales"]);
    EXPECT_EQ(Hex(matrix.scale_scales), c["scale_scales"]);
    EXPECT_EQ(Hex(matrix.scale_mean), c["scale_mean"]);
    EXPECT_EQ(matrix.codes.nbytes() + matrix.scales.nbytes() + matrix.scale_scales.nbytes() +
                  matrix.scale_mean.nbytes(),
              static_cast<size_t>(Nf4Matrix::BytesFor(matrix.rows, matrix.columns)));
    for (const OpTable* table : {&CpuOps(), &ReferenceOps()}) {
      EXPECT_EQ(Checksum(Dequantized(matrix, at::kFloat, *table)), c["float32"]) << table->name;
      EXPECT_EQ(Checksum(Dequantized(matrix, at::kBFloat16, *table)), c["bfloat16"]) << table->name;
    }
  }
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : Golden()["cases"].items()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Cases, Nf4GoldenTest, ::testing::ValuesIn(CaseNames()),
                         [](const auto& info) { return "Case_" + info.param; });

TEST(Nf4Test, CodesAndScalesHaveTheLevelsOfBitsandbytes) {
  const at::Tensor levels = at::tensor(at::ArrayRef<float>(kNf4Levels.data(), kNf4Levels.size()));
  EXPECT_EQ(Hex(levels), Golden()["levels"]);
  EXPECT_EQ(Hex(Nf4Matrix::Zeros(1, 1, at::kCPU).scale_levels), Golden()["dynamic_map"]);
}

// Files do not align tensors.
TEST(Nf4Test, ReadsUnalignedMemory) {
  const at::Tensor values = at::randn({5, 77});
  std::vector<char> shifted(values.nbytes() + 1);
  std::memcpy(shifted.data() + 1, values.const_data_ptr(), values.nbytes());
  const Nf4Matrix aligned = Quantized(values),
                  unaligned = Quantized(at::from_blob(shifted.data() + 1, {5, 77}, at::kFloat));
  EXPECT_TRUE(at::equal(aligned.codes, unaligned.codes));
  EXPECT_TRUE(at::equal(aligned.scales, unaligned.scales));
}

// The largest error of an element: half of the widest gap between levels × the block's scale, and
// half of the widest gap of the dynamic map × the scale of the scales.
TEST(Nf4Test, ErrorIsBoundedByTheGapsBetweenLevels) {
  at::manual_seed(5);
  for (int64_t columns : {1, 33, 64, 190, 1025}) {
    const at::Tensor values = at::randn({61, columns});
    const Nf4Matrix matrix = Quantized(values);
    const at::Tensor error = (Dequantized(matrix, at::kFloat, CpuOps()) - values).abs().flatten();
    const double scale_error = 0.5 * 0.0141 * matrix.scale_scales.max().item<double>();
    for (int64_t begin = 0; begin < values.numel(); begin += kNf4Block) {
      const int64_t size = std::min(kNf4Block, values.numel() - begin);
      const double scale = values.flatten().narrow(0, begin, size).abs().max().item<double>();
      EXPECT_LE(error.narrow(0, begin, size).max().item<double>(),
                0.5 * (1.0 - 0.6961928) * scale + scale_error + 1e-6);
    }
  }
}

TEST(Nf4Test, QuantizingTheDequantizedMatrixGivesTheSameCodes) {
  at::manual_seed(6);
  for (int64_t rows = 1; rows < 40; rows += 3) {
    for (int64_t columns : {1, 2, 31, 64, 100}) {
      const Nf4Matrix matrix = Quantized(at::randn({rows, columns}));
      const Nf4Matrix again = Quantized(Dequantized(matrix, at::kFloat, CpuOps()));
      EXPECT_TRUE(at::equal(again.codes, matrix.codes)) << rows << " x " << columns;
    }
  }
}

TEST(Nf4Test, TakesAboutFourBitsPerElement) {
  EXPECT_EQ(Nf4Matrix::BytesFor(1536, 576), 1536 * 576 / 2 + 13824 + 54 * 4 + 4);
  EXPECT_LT(static_cast<double>(Nf4Matrix::BytesFor(4096, 4096)) * 8 / (4096 * 4096), 4.13);
}

}  // namespace
}  // namespace trainerd::engine
