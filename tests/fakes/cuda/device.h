// SPDX-License-Identifier: Apache-2.0
// The fake device: its settings (environment variables, README.md), its memory, what was called,
// and the fault that was requested. All functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace trainerd::fakes::cuda {

struct Settings {
  // FAKE_CUDA_DEVICES
  int devices = 1;
  // FAKE_CUDA_MODEL
  std::string model = "NVIDIA Fake";
  // FAKE_CUDA_DRIVER: 13000 for CUDA 13.0; 0 = no driver.
  int driver = 13000;
  // FAKE_CUDA_MEMORY, bytes.
  size_t memory = size_t{8} << 30;
  // FAKE_CUDA_FAULT=STEP:CODE: synchronization number STEP (from 1) fails with the cudaError_t
  // CODE; so does each later call. 0 = none.
  int64_t fault_at = 0;
  int fault_code = 0;
  // FAKE_CUDA_BLAS=alloc_failed: cuBLAS finds no memory for its handle.
  bool blas_fails = false;
  // FAKE_CUDA_COMPUTE=0: operators are launched on the device, which computes nothing.
  bool computes = true;
  // FAKE_CUDA_LOG: the file that the counts are written to when the process ends.
  std::string log;
};
const Settings& GetSettings();

// Counts a call under this name, with the bytes that it moves or allocates.
void Count(const std::string& name, uint64_t bytes = 0);

// ---- memory. Addresses are those of host memory; pages are zero and exist once they are touched.
// Takes `bytes` of the device. False: it has not that many.
bool Take(size_t bytes);
void GiveBack(size_t bytes);
size_t UsedBytes();
// Reserves addresses that cannot be accessed. Null: none are left.
void* ReserveAddresses(size_t bytes);
void FreeAddresses(void* begin, size_t bytes);
// Makes pages of a reservation accessible, or inaccessible and zero again.
void MapPages(void* begin, size_t bytes);
void UnmapPages(void* begin, size_t bytes);
// Whether the address belongs to a reservation.
bool IsDeviceAddress(const void* address);

// The error that each call returns after the fault; 0 before it.
int Fault();
// Counts a synchronization and returns Fault().
int Synchronize();

}  // namespace trainerd::fakes::cuda

// For tests that preload the library and look these names up.
extern "C" {
// The calls whose name contains the text.
uint64_t fake_cuda_calls(const char* text);
// The most memory that was taken since the process began or fake_cuda_reset.
uint64_t fake_cuda_peak_bytes();
// Forgets the calls and the peak.
void fake_cuda_reset();
}  // extern "C"
