// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/cuda/device.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace trainerd::fakes::cuda {
namespace {

struct Counter {
  uint64_t calls = 0;
  uint64_t bytes = 0;
};

struct Device {
  std::mutex mutex;
  std::map<std::string, Counter> counters;
  // Begin of a reservation → its bytes.
  std::map<const char*, size_t> reservations;
  size_t used = 0;
  size_t peak = 0;
  int64_t synchronizations = 0;
  bool faulty = false;
};

// Never destroyed: LibTorch frees memory while the process ends.
Device& TheDevice() {
  static Device* device = new Device;
  return *device;
}

int64_t Number(const char* name, int64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : std::strtoll(text, nullptr, 10);
}

std::string Text(const char* name, const std::string& fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : text;
}

Settings ReadSettings() {
  Settings settings;
  settings.devices = static_cast<int>(Number("FAKE_CUDA_DEVICES", settings.devices));
  settings.model = Text("FAKE_CUDA_MODEL", settings.model);
  settings.driver = static_cast<int>(Number("FAKE_CUDA_DRIVER", settings.driver));
  settings.memory =
      static_cast<size_t>(Number("FAKE_CUDA_MEMORY", static_cast<int64_t>(settings.memory)));
  long long step = 0;
  std::sscanf(Text("FAKE_CUDA_FAULT", "0:0").c_str(), "%lld:%d", &step, &settings.fault_code);
  settings.fault_at = step;
  settings.blas_fails = Text("FAKE_CUDA_BLAS", "") == "alloc_failed";
  settings.computes = Number("FAKE_CUDA_COMPUTE", 1) != 0;
  settings.log = Text("FAKE_CUDA_LOG", "");
  return settings;
}

__attribute__((destructor)) void WriteLog() {
  if (GetSettings().log.empty()) return;
  // Processes without a call of CUDA (a shell, a daemon) inherit the variable and write nothing.
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  if (device.counters.empty()) return;
  std::FILE* file = std::fopen(GetSettings().log.c_str(), "w");
  if (file == nullptr) return;
  std::fprintf(file, "peak bytes\t1\t%zu\n", device.peak);
  for (const auto& [name, counter] : device.counters) {
    std::fprintf(file, "%s\t%llu\t%llu\n", name.c_str(),
                 static_cast<unsigned long long>(counter.calls),
                 static_cast<unsigned long long>(counter.bytes));
  }
  std::fclose(file);
}

}  // namespace

const Settings& GetSettings() {
  static const Settings* settings = new Settings(ReadSettings());
  return *settings;
}

void Count(const std::string& name, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  Counter& counter = TheDevice().counters[name];
  ++counter.calls;
  counter.bytes += bytes;
}

bool Take(size_t bytes) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  if (bytes > GetSettings().memory - device.used) return false;
  device.used += bytes;
  if (device.used > device.peak) device.peak = device.used;
  return true;
}

void GiveBack(size_t bytes) {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  TheDevice().used -= bytes;
}

size_t UsedBytes() {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  return TheDevice().used;
}

void* ReserveAddresses(size_t bytes) {
  void* begin =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) return nullptr;
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  TheDevice().reservations[static_cast<const char*>(begin)] = bytes;
  return begin;
}

void FreeAddresses(void* begin, size_t bytes) {
  {
    std::lock_guard<std::mutex> lock(TheDevice().mutex);
    TheDevice().reservations.erase(static_cast<const char*>(begin));
  }
  ::munmap(begin, bytes);
}

void MapPages(void* begin, size_t bytes) { ::mprotect(begin, bytes, PROT_READ | PROT_WRITE); }

void UnmapPages(void* begin, size_t bytes) {
  ::madvise(begin, bytes, MADV_DONTNEED);
  ::mprotect(begin, bytes, PROT_NONE);
}

bool IsDeviceAddress(const void* address) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  auto it = device.reservations.upper_bound(static_cast<const char*>(address));
  if (it == device.reservations.begin()) return false;
  --it;
  return static_cast<const char*>(address) < it->first + it->second;
}

int Fault() {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  return TheDevice().faulty ? GetSettings().fault_code : 0;
}

int Synchronize() {
  {
    Device& device = TheDevice();
    std::lock_guard<std::mutex> lock(device.mutex);
    ++device.counters["synchronize"].calls;
    if (++device.synchronizations == GetSettings().fault_at) device.faulty = true;
  }
  return Fault();
}

}  // namespace trainerd::fakes::cuda

using trainerd::fakes::cuda::TheDevice;

extern "C" {

uint64_t fake_cuda_calls(const char* text) {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  uint64_t calls = 0;
  for (const auto& [name, counter] : TheDevice().counters) {
    if (name.find(text) != std::string::npos) calls += counter.calls;
  }
  return calls;
}

uint64_t fake_cuda_peak_bytes() {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  return TheDevice().peak;
}

void fake_cuda_reset() {
  std::lock_guard<std::mutex> lock(TheDevice().mutex);
  TheDevice().counters.clear();
  TheDevice().peak = TheDevice().used;
}

}  // extern "C"
