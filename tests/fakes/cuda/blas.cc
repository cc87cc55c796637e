// SPDX-License-Identifier: Apache-2.0
// libcublas and libcublasLt: matrix products are counted with their shapes and FLOPs, and not
// computed. The packages of nvcc.txt have no header of cuBLAS, so its types are declared here as
// far as LibTorch uses them; their names and values are those of cublas_v2.h and cublasLt.h.
#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/fakes/cuda/device.h"

namespace {

using trainerd::fakes::cuda::Count;

// cublasStatus_t
constexpr int kSuccess = 0;
constexpr int kAllocFailed = 3;
// cublasOperation_t
constexpr int kNoTranspose = 0;
// cublasLtMatmulDescAttributes_t
constexpr int kDescTransposeA = 3;
constexpr int kDescTransposeB = 4;

struct MatmulDesc {
  int32_t transpose_a = kNoTranspose;
  int32_t transpose_b = kNoTranspose;
};
struct MatrixLayout {
  int type;
  uint64_t rows;
  uint64_t columns;
};
// cublasLtMatmulHeuristicResult_t
struct HeuristicResult {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

struct Product {
  int transpose_a, transpose_b;
  int64_t m, n, k;
  int in_type, out_type;
  int64_t batch = 1;
};

int CountProduct(const char* function, const Product& p) {
  char name[160];
  std::snprintf(name, sizeof(name), "product %s %c%c m %lld n %lld k %lld batch %lld type %d to %d",
                function, p.transpose_a == kNoTranspose ? 'n' : 't',
                p.transpose_b == kNoTranspose ? 'n' : 't', static_cast<long long>(p.m),
                static_cast<long long>(p.n), static_cast<long long>(p.k),
                static_cast<long long>(p.batch), p.in_type, p.out_type);
  Count(name, static_cast<uint64_t>(2 * p.m * p.n * p.k * p.batch));
  return kSuccess;
}

}  // namespace

extern "C" {

// ---- libcublas
int cublasCreate_v2(void** handle) {
  static char the_handle;
  if (trainerd::fakes::cuda::GetSettings().blas_fails) return kAllocFailed;
  *handle = &the_handle;
  return kSuccess;
}
int cublasDestroy_v2(void*) { return kSuccess; }
int cublasSetStream_v2(void*, cudaStream_t) { return kSuccess; }
int cublasSetWorkspace_v2(void*, void*, size_t bytes) {
  Count("cublasSetWorkspace", bytes);
  return kSuccess;
}
int cublasSetMathMode(void*, int mode) {
  Count("cublasSetMathMode " + std::to_string(mode));
  return kSuccess;
}
int cublasGetMathMode(void*, int* mode) {
  *mode = 0;  // CUBLAS_DEFAULT_MATH
  return kSuccess;
}
int cublasSetPointerMode_v2(void*, int) { return kSuccess; }
int cublasGetPointerMode_v2(void*, int* mode) {
  *mode = 0;  // CUBLAS_POINTER_MODE_HOST
  return kSuccess;
}
int cublasGemmEx(void*, int transpose_a, int transpose_b, int m, int n, int k, const void*,
                 const void*, int a_type, int, const void*, int, int, const void*, void*,
                 int c_type, int, int, int) {
  return CountProduct("GemmEx", {transpose_a, transpose_b, m, n, k, a_type, c_type});
}
int cublasGemmStridedBatchedEx(void*, int transpose_a, int transpose_b, int m, int n, int k,
                               const void*, const void*, int a_type, int, long long, const void*,
                               int, int, long long, const void*, void*, int c_type, int, long long,
                               int batch, int, int) {
  return CountProduct("GemmStridedBatchedEx",
                      {transpose_a, transpose_b, m, n, k, a_type, c_type, batch});
}
int cublasSgemm_v2(void*, int transpose_a, int transpose_b, int m, int n, int k, const float*,
                   const float*, int, const float*, int, const float*, float*, int) {
  return CountProduct("Sgemm", {transpose_a, transpose_b, m, n, k, CUDA_R_32F, CUDA_R_32F});
}
int cublasSgemmStridedBatched(void*, int transpose_a, int transpose_b, int m, int n, int k,
                              const float*, const float*, int, long long, const float*, int,
                              long long, const float*, float*, int, long long, int batch) {
  return CountProduct("SgemmStridedBatched",
                      {transpose_a, transpose_b, m, n, k, CUDA_R_32F, CUDA_R_32F, batch});
}
int cublasSgemmEx(void*, int transpose_a, int transpose_b, int m, int n, int k, const float*,
                  const void*, int a_type, int, const void*, int, int, const float*, void*,
                  int c_type, int) {
  return CountProduct("SgemmEx", {transpose_a, transpose_b, m, n, k, a_type, c_type});
}

// ---- libcublasLt
size_t cublasLtGetVersion() { return 130100; }
int cublasLtMatmulDescCreate(void** desc, int, int) {
  *desc = new MatmulDesc;
  return kSuccess;
}
int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<MatmulDesc*>(desc);
  return kSuccess;
}
int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t) {
  auto* matmul = static_cast<MatmulDesc*>(desc);
  if (attribute == kDescTransposeA) std::memcpy(&matmul->transpose_a, value, sizeof(int32_t));
  if (attribute == kDescTransposeB) std::memcpy(&matmul->transpose_b, value, sizeof(int32_t));
  return kSuccess;
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t) {
  *layout = new MatrixLayout{type, rows, columns};
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<MatrixLayout*>(layout);
  return kSuccess;
}
int cublasLtMatrixLayoutSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
int cublasLtMatmulPreferenceCreate(void** preference) {
  static char the_preference;
  *preference = &the_preference;
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(void*) { return kSuccess; }
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int,
                                   HeuristicResult* results, int* count) {
  *results = {};
  *count = 1;
  return kSuccess;
}
int cublasLtMatmul(void*, void* desc, const void*, const void*, void* a, const void*, void*,
                   const void*, const void*, void* c, void*, void*, const void*, void*, size_t,
                   cudaStream_t) {
  const auto* matmul = static_cast<const MatmulDesc*>(desc);
  const auto* a_layout = static_cast<const MatrixLayout*>(a);
  const auto* c_layout = static_cast<const MatrixLayout*>(c);
  const bool is_transposed = matmul->transpose_a != kNoTranspose;
  const uint64_t k = is_transposed ? a_layout->rows : a_layout->columns;
  return CountProduct(
      "LtMatmul", {matmul->transpose_a, matmul->transpose_b, static_cast<int64_t>(c_layout->rows),
                   static_cast<int64_t>(c_layout->columns), static_cast<int64_t>(k), a_layout->type,
                   c_layout->type});
}

// ---- libcudnn, which our path does not use
size_t cudnnGetVersion() { return 91900; }

}  // extern "C"
