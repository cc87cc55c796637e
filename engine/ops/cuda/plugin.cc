// SPDX-License-Identifier: Apache-2.0
// libtrainerd_cuda.so: what the worker needs of CUDA. Loading it registers ATen's CUDA backend; its
// one exported function returns the table that engine/platform/cuda_plugin.h describes.
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/ops/cuda/cuda_ops.h"
#include "engine/platform/cuda_plugin.h"

namespace trainerd::engine::cuda {

void* CurrentStream(at::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}

void CheckLaunch() { C10_CUDA_KERNEL_LAUNCH_CHECK(); }

}  // namespace trainerd::engine::cuda

namespace {

// LibTorch's kernels and bf16 need compute capability 8.0.
constexpr int kMinimumMajor = 8;

int32_t DeviceCount(char* error, int32_t error_size) {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaSuccess) return count;
  std::snprintf(error, static_cast<size_t>(error_size), "%s (%s)", cudaGetErrorString(result),
                cudaGetErrorName(result));
  return -1;
}

int32_t Describe(int32_t device, TrainerdCudaDevice* description) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) return 1;
  std::memset(description, 0, sizeof(*description));
  std::memcpy(description->model, properties.name,
              std::min(std::strlen(properties.name), sizeof(description->model) - 1));
  const auto* uuid = reinterpret_cast<const unsigned char*>(properties.uuid.bytes);
  std::snprintf(description->uuid, sizeof(description->uuid),
                "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", uuid[0],
                uuid[1], uuid[2], uuid[3], uuid[4], uuid[5], uuid[6], uuid[7], uuid[8], uuid[9],
                uuid[10], uuid[11], uuid[12], uuid[13], uuid[14], uuid[15]);
  description->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  if (properties.major < kMinimumMajor) {
    std::snprintf(description->unavailable, sizeof(description->unavailable),
                  "compute capability %d.%d is below 8.0; use a GPU of the Ampere generation or "
                  "newer, or device: cpu",
                  properties.major, properties.minor);
  }
  return 0;
}

// What tensors occupy in the caching allocator. The driver's figure would also count the CUDA
// context and the allocator's free blocks.
int32_t Memory(int32_t device, int64_t* bytes, int64_t* peak_bytes) {
  c10::cuda::CUDACachingAllocator::CUDAAllocator* allocator =
      c10::cuda::CUDACachingAllocator::get();
  if (allocator == nullptr || !allocator->initialized()) return 1;
  constexpr size_t kAggregate = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
  *bytes = stats.allocated_bytes[kAggregate].current;
  *peak_bytes = stats.allocated_bytes[kAggregate].peak;
  return 0;
}

constexpr TrainerdCudaPlugin kPlugin{.abi = kTrainerdCudaAbi,
                                     .device_count = &DeviceCount,
                                     .describe = &Describe,
                                     .memory = &Memory,
                                     .ops = &trainerd::engine::cuda::CudaOps};

}  // namespace

extern "C" __attribute__((visibility("default"))) const TrainerdCudaPlugin* trainerd_cuda_plugin() {
  return &kPlugin;
}
