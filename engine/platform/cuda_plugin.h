// SPDX-License-Identifier: Apache-2.0
// Interface between the worker and libtrainerd_cuda.so: a table of C functions behind one symbol,
// so that the worker itself links no CUDA. Opening the plugin also registers ATen's CUDA backend,
// so it must be opened before anything queries ATen about CUDA.
#pragma once

#include <cstdint>

extern "C" {

struct TrainerdCudaDevice {
  char model[128];  // "NVIDIA H200"
  char uuid[64];    // "GPU-…"
  int64_t memory_bytes;
  char unavailable[256];  // why it cannot be used; "" = it is usable
};

struct TrainerdCudaPlugin {
  // kTrainerdCudaAbi of the build; the worker refuses any other value.
  int32_t abi;
  // Number of devices that the driver reports; < 0: none is usable, and `error` (of `error_size`
  // bytes) holds the reason.
  int32_t (*device_count)(char* error, int32_t error_size);
  // 0 = success.
  int32_t (*describe)(int32_t device, TrainerdCudaDevice* description);
  // Bytes that this process has allocated on the device: now, and its peak. 0 = success.
  int32_t (*memory)(int32_t device, int64_t* bytes, int64_t* peak_bytes);
};

// Exported by the plugin under the name kTrainerdCudaSymbol. The table lives as long as the
// process.
typedef const TrainerdCudaPlugin* (*TrainerdCudaPluginFunction)();

}  // extern "C"

inline constexpr int32_t kTrainerdCudaAbi = 1;
inline constexpr char kTrainerdCudaSymbol[] = "trainerd_cuda_plugin";
inline constexpr char kTrainerdCudaLibrary[] = "libtrainerd_cuda.so";
