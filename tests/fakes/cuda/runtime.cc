// SPDX-License-Identifier: Apache-2.0
// libcudart without a device: properties, launches, streams and events.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "tests/fakes/cuda/device.h"
#include "tests/fakes/cuda/driver.h"

namespace trainerd::fakes::cuda {
namespace {

// Figures of an H200.
constexpr int kMultiprocessors = 132;
constexpr int kThreadsPerBlock = 1024;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kBlocksPerMultiprocessor = 32;
constexpr int kSharedBytesPerBlock = 49152;
constexpr int kSharedBytesPerBlockOptIn = 232448;
constexpr int kSharedBytesPerMultiprocessor = 233472;
constexpr int kGridYZ = 65535;

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

struct Launch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  void* stream = nullptr;
};
// Between __cudaPushCallConfiguration and __cudaPopCallConfiguration of one thread.
thread_local Launch configured;

std::atomic<ComputeKernel> compute_kernel{nullptr};

struct Kernels {
  std::mutex mutex;
  // Address of the host function → demangled name.
  std::map<const void*, std::string> names;
};
Kernels& TheKernels() {
  static Kernels* kernels = new Kernels;
  return *kernels;
}

std::string Demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

std::string NameOf(const void* kernel) {
  std::lock_guard<std::mutex> lock(TheKernels().mutex);
  const auto it = TheKernels().names.find(kernel);
  return it == TheKernels().names.end() ? "unknown" : it->second;
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "fake CUDA device: %s\n", why.c_str());
  std::abort();
}

bool IsValid(const Launch& launch) {
  const dim3& grid = launch.grid;
  const dim3& block = launch.block;
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y <= kGridYZ && grid.z <= kGridYZ &&
         block.x * block.y * block.z > 0 && block.x * block.y * block.z <= kThreadsPerBlock;
}

cudaError_t Run(const void* kernel, const Launch& launch, void** arguments) {
  const std::string name = NameOf(kernel);
  Count("launch " + name + " grid " + std::to_string(launch.grid.x) + "," +
        std::to_string(launch.grid.y) + "," + std::to_string(launch.grid.z));
  if (Fault() != 0) return Failed(static_cast<cudaError_t>(Fault()));
  if (!IsValid(launch)) return Failed(cudaErrorInvalidConfiguration);
  // Ours are computed, because ATen's are replaced before they get here.
  if (name.find("trainerd::engine::cuda::") == std::string::npos) return cudaSuccess;
  const ComputeKernel compute = compute_kernel;
  if (compute == nullptr) return cudaSuccess;
  if (launch.grid.y * launch.grid.z * launch.block.y * launch.block.z != 1) {
    Die(name + " is launched in more than one dimension");
  }
  if (!compute(name, launch.grid.x, launch.block.x, arguments)) {
    Die(name + " is not launched by Launch of engine/ops/cuda/device_code.cuh");
  }
  return cudaSuccess;
}

// The part that computes replaces ATen's CUDA operators, so it is loaded after they are registered.
void LoadComputingPart() {
  static std::once_flag once;
  if (!GetSettings().computes || ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD) == nullptr) {
    return;
  }
  std::call_once(once, [] {
    Dl_info info;
    ::dladdr(reinterpret_cast<void*>(&LoadComputingPart), &info);
    const std::string self = info.dli_fname;
    const std::string path = self.substr(0, self.rfind('/')) + "/libfake_cuda_compute.so";
    if (::dlopen(path.c_str(), RTLD_NOW) == nullptr) Die(::dlerror());
  });
}

// The driver's device file seems to exist.
const char* ExistingFile(const char* path) {
  return std::strcmp(path, "/dev/nvidiactl") == 0 ? "/dev/null" : path;
}

// Distinct handles of streams and events, which hold nothing.
void* NextHandle() {
  static std::atomic<uintptr_t> next{0x1000};
  return reinterpret_cast<void*>(next += 16);
}

cudaError_t Synchronized() { return Failed(static_cast<cudaError_t>(Synchronize())); }

}  // namespace

cudaError_t Failed(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace trainerd::fakes::cuda

using namespace trainerd::fakes::cuda;  // NOLINT: the functions below are C

extern "C" {

void fake_cuda_set_compute_kernel(ComputeKernel compute) { compute_kernel = compute; }

// The worker looks for the driver's device file before it loads CUDA.
int stat(const char* path, struct stat* result) {
  static const auto real =
      reinterpret_cast<int (*)(const char*, struct stat*)>(::dlsym(RTLD_NEXT, "stat"));
  return real(ExistingFile(path), result);
}
// What std::filesystem in LibTorch calls, which is built for older systems.
int __xstat(int, const char* path, struct stat* result) { return stat(path, result); }

// ---- the driver and the devices
cudaError_t cudaGetDeviceCount(int* count) {
  if (GetSettings().driver == 0) return Failed(cudaErrorInsufficientDriver);
  LoadComputingPart();
  *count = GetSettings().devices;
  return *count > 0 ? cudaSuccess : Failed(cudaErrorNoDevice);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = GetSettings().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= GetSettings().devices) return Failed(cudaErrorInvalidDevice);
  Count("cudaSetDevice " + std::to_string(device));
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= GetSettings().devices) return Failed(cudaErrorInvalidDevice);
  cudaDeviceProp& p = *properties;
  p = {};
  std::snprintf(p.name, sizeof(p.name), "%s", GetSettings().model.c_str());
  p.uuid.bytes[15] = static_cast<char>(device);
  p.totalGlobalMem = GetSettings().memory;
  p.major = 9;
  p.minor = 0;
  p.multiProcessorCount = kMultiprocessors;
  p.warpSize = 32;
  p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = kThreadsPerBlock;
  p.maxThreadsDim[2] = 64;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
  p.maxGridSize[0] = 2147483647;
  p.maxGridSize[1] = p.maxGridSize[2] = kGridYZ;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.sharedMemPerBlock = kSharedBytesPerBlock;
  p.sharedMemPerBlockOptin = kSharedBytesPerBlockOptIn;
  p.sharedMemPerMultiprocessor = kSharedBytesPerMultiprocessor;
  p.l2CacheSize = 60 << 20;
  p.unifiedAddressing = p.concurrentKernels = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return error;
  const std::map<cudaDeviceAttr, int> values = {
      {cudaDevAttrMultiProcessorCount, kMultiprocessors},
      {cudaDevAttrMaxThreadsPerBlock, kThreadsPerBlock},
      {cudaDevAttrMaxThreadsPerMultiProcessor, kThreadsPerMultiprocessor},
      {cudaDevAttrMaxSharedMemoryPerBlock, kSharedBytesPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, kSharedBytesPerBlockOptIn},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, kSharedBytesPerMultiprocessor},
      {cudaDevAttrComputeCapabilityMajor, properties.major},
      {cudaDevAttrComputeCapabilityMinor, properties.minor},
      {cudaDevAttrWarpSize, properties.warpSize},
      {cudaDevAttrMaxGridDimX, properties.maxGridSize[0]},
      {cudaDevAttrMaxGridDimY, kGridYZ},
      {cudaDevAttrMaxGridDimZ, kGridYZ}};
  const auto it = values.find(attribute);
  *value = it == values.end() ? 0 : it->second;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device) {
  std::snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}

// ---- errors
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t error) {
  static thread_local char name[32];
  std::snprintf(name, sizeof(name), "cudaError %d", static_cast<int>(error));
  return name;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (static_cast<int>(error)) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorECCUncorrectable:
      return "uncorrectable ECC error encountered";
    default:
      return "an error of the fake device";
  }
}

// ---- kernels, as nvcc registers and launches them
void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host_function, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  std::lock_guard<std::mutex> lock(TheKernels().mutex);
  TheKernels().names[host_function] = Demangled(name);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes,
                                     struct CUstream_st* stream) {
  configured = {grid, block, shared_bytes, stream};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes,
                                       void* stream) {
  *grid = configured.grid;
  *block = configured.block;
  *shared_bytes = configured.shared_bytes;
  *static_cast<void**>(stream) = configured.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host_function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared_bytes, cudaStream_t stream) {
  return Run(kernel, {grid, block, shared_bytes, stream}, arguments);
}
cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments,
                             size_t shared_bytes, cudaStream_t stream) {
  return Run(kernel, {grid, block, shared_bytes, stream}, arguments);
}
cudaError_t cudaLaunchCooperativeKernel(const void* kernel, dim3 grid, dim3 block, void** arguments,
                                        size_t shared_bytes, cudaStream_t stream) {
  return Run(kernel, {grid, block, shared_bytes, stream}, arguments);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel,
                                void** arguments) {
  return Run(kernel, {config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream},
             arguments);
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = kThreadsPerBlock;
  attributes->numRegs = 32;
  attributes->binaryVersion = attributes->ptxVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*,
                                                                   int threads, size_t, unsigned) {
  *blocks =
      std::clamp(kThreadsPerMultiprocessor / std::max(threads, 1), 1, kBlocksPerMultiprocessor);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel,
                                                          int threads, size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, threads,
                                                                shared_bytes, 0);
}

// ---- streams and events: everything is done when the call returns
cudaError_t cudaDeviceSynchronize() { return Synchronized(); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return Synchronized(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return Synchronized(); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = static_cast<cudaStream_t>(NextHandle());
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t*, const cudaGraphNode_t**,
                                     const cudaGraphEdgeData**, size_t*) {
  if (status != nullptr) *status = cudaStreamCaptureStatusNone;
  if (id != nullptr) *id = 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = static_cast<cudaEvent_t>(NextHandle());
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t, cudaStream_t, unsigned) { return cudaSuccess; }

// LibTorch looks all names up at once, and calls few of them.
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  static const auto done = +[] { return 0; };
  void* found = MemoryFunction(name);
  *function = found != nullptr ? found : reinterpret_cast<void*>(done);
  if (result != nullptr) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

}  // extern "C"
