// SPDX-License-Identifier: Apache-2.0
// The interface of libtrainerd_cuda.so, the plugin that holds everything that links CUDA: one
// exported function that returns a table of functions. Loading the plugin also registers ATen's
// CUDA backend, so load it before any call asks ATen about CUDA.
#pragma once

#include <cstdint>

namespace trainerd::engine {
struct OpTable;
}  // namespace trainerd::engine

extern "C" {

struct TrainerdCudaDevice {
  // For example "NVIDIA H200".
  char model[128];
  // "GPU-…", as nvidia-smi prints it.
  char uuid[64];
  int64_t memory_bytes;
  // Why the device cannot be used and what to do; "" = it can be used.
  char unavailable[256];
  // For example "580.95.05 (CUDA 13.0)", or "CUDA 13.0" where the kernel module names no version.
  char driver[64];
  // Of those that compute, for example "CUDA 13.0, cuBLAS 13.1.0, cuDNN 9.19.0".
  char libraries[128];
};

struct TrainerdCudaPlugin {
  // kTrainerdCudaAbi of the plugin's build. The worker refuses any other value than its own.
  int32_t abi;
  // The number of devices that the driver lists. < 0: CUDA cannot be used; `error` (`error_size`
  // bytes) holds the reason.
  int32_t (*device_count)(char* error, int32_t error_size);
  // Fills `description`. Returns 0 on success.
  int32_t (*describe)(int32_t device, TrainerdCudaDevice* description);
  // Bytes that this process has reserved for tensors on the device, now and at most since its
  // start. Returns 0 on success.
  int32_t (*memory)(int32_t device, int64_t* bytes, int64_t* peak_bytes);
  // The op table for cuda devices: a copy of `reference` in which the plugin's kernels replace
  // entries. It lives as long as the process.
  const trainerd::engine::OpTable* (*ops)(const trainerd::engine::OpTable& reference);
};

// The type of the exported function kTrainerdCudaSymbol. Its result lives as long as the process.
typedef const TrainerdCudaPlugin* (*TrainerdCudaPluginFunction)();

}  // extern "C"

// Increase it with each change of the structs above or of OpTable.
inline constexpr int32_t kTrainerdCudaAbi = 3;
inline constexpr char kTrainerdCudaSymbol[] = "trainerd_cuda_plugin";
inline constexpr char kTrainerdCudaLibrary[] = "libtrainerd_cuda.so";
