// SPDX-License-Identifier: Apache-2.0
// The memory of libcudart, and the driver's functions for memory that LibTorch's expandable
// segments look up by name.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "tests/fakes/cuda/device.h"
#include "tests/fakes/cuda/driver.h"

namespace trainerd::fakes::cuda {
namespace {

// Blocks of cudaMalloc and of cudaHostAlloc, with their bytes.
struct Blocks {
  std::mutex mutex;
  std::map<const void*, size_t> device;
  std::map<const char*, size_t> pinned;
};
Blocks& TheBlocks() {
  static Blocks* blocks = new Blocks;
  return *blocks;
}

bool IsPinned(const void* address) {
  Blocks& blocks = TheBlocks();
  std::lock_guard<std::mutex> lock(blocks.mutex);
  auto it = blocks.pinned.upper_bound(static_cast<const char*>(address));
  if (it == blocks.pinned.begin()) return false;
  --it;
  return static_cast<const char*>(address) < it->first + it->second;
}

// The host waits for a copy from or to memory that is not pinned.
cudaError_t Copy(void* to, const void* from, size_t bytes, bool waits) {
  const bool to_device = IsDeviceAddress(to), from_device = IsDeviceAddress(from);
  const void* host = to_device ? from : to;
  std::string name = to_device && from_device ? "copy on the device"
                     : to_device              ? "copy to the device"
                     : from_device            ? "copy to the host"
                                              : "copy on the host";
  if (to_device != from_device) name += IsPinned(host) ? ", pinned" : ", pageable";
  Count(name, bytes);
  const int fault = waits ? Synchronize() : Fault();
  if (fault != 0) return Failed(static_cast<cudaError_t>(fault));
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t Fill(void* begin, int value, size_t bytes) {
  Count("fill", bytes);
  if (Fault() != 0) return Failed(static_cast<cudaError_t>(Fault()));
  std::memset(begin, value, bytes);
  return cudaSuccess;
}

// ---- what LibTorch's expandable segments call. A handle is the number of its bytes.
CUresult MemCreate(CUmemGenericAllocationHandle* handle, size_t bytes, const CUmemAllocationProp*,
                   unsigned long long) {
  Count("cuMemCreate", bytes);
  if (Fault() != 0) return static_cast<CUresult>(Fault());
  if (!Take(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = bytes;
  return CUDA_SUCCESS;
}
CUresult MemRelease(CUmemGenericAllocationHandle handle) {
  GiveBack(handle);
  return CUDA_SUCCESS;
}
CUresult MemAddressReserve(CUdeviceptr* begin, size_t bytes, size_t, CUdeviceptr,
                           unsigned long long) {
  void* reserved = ReserveAddresses(bytes);
  if (reserved == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *begin = reinterpret_cast<CUdeviceptr>(reserved);
  return CUDA_SUCCESS;
}
CUresult MemAddressFree(CUdeviceptr begin, size_t bytes) {
  FreeAddresses(reinterpret_cast<void*>(begin), bytes);
  return CUDA_SUCCESS;
}
CUresult MemMap(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle, unsigned long long) {
  return CUDA_SUCCESS;  // accessible from cuMemSetAccess on
}
CUresult MemSetAccess(CUdeviceptr begin, size_t bytes, const CUmemAccessDesc*, size_t) {
  MapPages(reinterpret_cast<void*>(begin), bytes);
  return CUDA_SUCCESS;
}
CUresult MemUnmap(CUdeviceptr begin, size_t bytes) {
  UnmapPages(reinterpret_cast<void*>(begin), bytes);
  return CUDA_SUCCESS;
}
CUresult MemGranularity(size_t* bytes, const CUmemAllocationProp*,
                        CUmemAllocationGranularity_flags) {
  *bytes = size_t{2} << 20;
  return CUDA_SUCCESS;
}

}  // namespace

void* MemoryFunction(const std::string& name) {
  static const std::map<std::string, void*> functions = {
      {"cuMemCreate", reinterpret_cast<void*>(&MemCreate)},
      {"cuMemRelease", reinterpret_cast<void*>(&MemRelease)},
      {"cuMemAddressReserve", reinterpret_cast<void*>(&MemAddressReserve)},
      {"cuMemAddressFree", reinterpret_cast<void*>(&MemAddressFree)},
      {"cuMemMap", reinterpret_cast<void*>(&MemMap)},
      {"cuMemSetAccess", reinterpret_cast<void*>(&MemSetAccess)},
      {"cuMemUnmap", reinterpret_cast<void*>(&MemUnmap)},
      {"cuMemGetAllocationGranularity", reinterpret_cast<void*>(&MemGranularity)},
  };
  const auto it = functions.find(name);
  return it == functions.end() ? nullptr : it->second;
}

}  // namespace trainerd::fakes::cuda

using namespace trainerd::fakes::cuda;  // NOLINT: the functions below are C

extern "C" {

cudaError_t cudaMalloc(void** begin, size_t bytes) {
  Count("cudaMalloc", bytes);
  if (Fault() != 0) return Failed(static_cast<cudaError_t>(Fault()));
  if (!Take(bytes)) return Failed(cudaErrorMemoryAllocation);
  *begin = ReserveAddresses(bytes);
  if (*begin == nullptr) return Failed(cudaErrorMemoryAllocation);
  MapPages(*begin, bytes);
  std::lock_guard<std::mutex> lock(TheBlocks().mutex);
  TheBlocks().device[*begin] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* begin) {
  Count("cudaFree");
  size_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(TheBlocks().mutex);
    const auto it = TheBlocks().device.find(begin);
    if (it == TheBlocks().device.end()) return cudaSuccess;
    bytes = it->second;
    TheBlocks().device.erase(it);
  }
  FreeAddresses(begin, bytes);
  GiveBack(bytes);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** begin, size_t bytes, cudaStream_t) {
  return cudaMalloc(begin, bytes);
}
cudaError_t cudaFreeAsync(void* begin, cudaStream_t) { return cudaFree(begin); }
cudaError_t cudaHostAlloc(void** begin, size_t bytes, unsigned) {
  Count("cudaHostAlloc", bytes);
  constexpr size_t kPage = 4096;
  *begin = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (*begin == nullptr) return Failed(cudaErrorMemoryAllocation);
  std::lock_guard<std::mutex> lock(TheBlocks().mutex);
  TheBlocks().pinned[static_cast<const char*>(*begin)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* begin) {
  {
    std::lock_guard<std::mutex> lock(TheBlocks().mutex);
    TheBlocks().pinned.erase(static_cast<const char*>(begin));
  }
  std::free(begin);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = GetSettings().memory;
  *free = *total - UsedBytes();
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  *attributes = {};
  attributes->type = IsDeviceAddress(address) ? cudaMemoryTypeDevice
                     : IsPinned(address)      ? cudaMemoryTypeHost
                                              : cudaMemoryTypeUnregistered;
  if (attributes->type == cudaMemoryTypeUnregistered) return cudaSuccess;
  attributes->devicePointer = const_cast<void*>(address);
  if (attributes->type == cudaMemoryTypeHost) attributes->hostPointer = const_cast<void*>(address);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  return Copy(to, from, bytes, /*waits=*/true);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  return Copy(to, from, bytes, /*waits=*/false);
}
cudaError_t cudaMemset(void* begin, int value, size_t bytes) { return Fill(begin, value, bytes); }
cudaError_t cudaMemsetAsync(void* begin, int value, size_t bytes, cudaStream_t) {
  return Fill(begin, value, bytes);
}
cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
  return cudaSuccess;  // no kernel reads it
}

}  // extern "C"
