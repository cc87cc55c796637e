// SPDX-License-Identifier: Apache-2.0
// libtrainerd_cuda.so: what the worker needs of CUDA. Loading it registers ATen's CUDA backend; its
// one exported function returns the table that engine/platform/cuda_plugin.h describes.
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

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

// "13.0" of 13000.
std::string CudaVersion(cudaError_t (*read)(int*)) {
  int version = 0;
  if (read(&version) != cudaSuccess) return "unknown";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// ", NAME 9.19.0" of 91900, as `function` of a loaded library returns it; "" without the function.
std::string LibraryVersion(const char* name, const char* function) {
  void* symbol = ::dlsym(RTLD_DEFAULT, function);
  if (symbol == nullptr) return "";
  const size_t version = reinterpret_cast<size_t (*)()>(symbol)();
  return std::string(", ") + name + " " + std::to_string(version / 10000) + "." +
         std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

// What the kernel module prints, for example "580.95.05". "" under WSL, which has no module.
std::string KernelModuleVersion() {
  std::FILE* file = std::fopen("/sys/module/nvidia/version", "re");
  if (file == nullptr) return "";
  char version[32] = "";
  const bool is_read = std::fscanf(file, "%31s", version) == 1;
  std::fclose(file);
  return is_read ? version : "";
}

// Neither call creates a CUDA context.
void DescribeVersions(TrainerdCudaDevice* description) {
  const std::string module = KernelModuleVersion(),
                    api = "CUDA " + CudaVersion(&cudaDriverGetVersion);
  std::snprintf(description->driver, sizeof(description->driver), "%s",
                (module.empty() ? api : module + " (" + api + ")").c_str());
  const std::string libraries = "CUDA " + CudaVersion(&cudaRuntimeGetVersion) +
                                LibraryVersion("cuBLAS", "cublasLtGetVersion") +
                                LibraryVersion("cuDNN", "cudnnGetVersion");
  std::snprintf(description->libraries, sizeof(description->libraries), "%s", libraries.c_str());
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
  DescribeVersions(description);
  if (properties.major < kMinimumMajor) {
    std::snprintf(description->unavailable, sizeof(description->unavailable),
                  "compute capability %d.%d is below 8.0; use a GPU of the Ampere generation or "
                  "newer, or device: cpu",
                  properties.major, properties.minor);
  }
  return 0;
}

// What the caching allocator has reserved: tensors and its free blocks, without the CUDA context.
// No other process can have it, and its limit is that of the device.
int32_t Memory(int32_t device, int64_t* bytes, int64_t* peak_bytes) {
  c10::cuda::CUDACachingAllocator::CUDAAllocator* allocator =
      c10::cuda::CUDACachingAllocator::get();
  if (allocator == nullptr || !allocator->initialized()) return 1;
  constexpr size_t kAggregate = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
  *bytes = stats.reserved_bytes[kAggregate].current;
  *peak_bytes = stats.reserved_bytes[kAggregate].peak;
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
