// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/platform/cuda_plugin.h"
#include "engine/platform/process_memory.h"
#include "engine/platform/torch_status.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

namespace fs = std::filesystem;

std::string FolderOfProgram() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? std::string(".") : program.parent_path().string();
}

bool HasNvidiaDevice() {
  std::error_code error;
  // A container may have a GPU other than the first. Under WSL the device is /dev/dxg.
  for (const char* path : {"/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia", "/dev/dxg"}) {
    if (fs::exists(path, error)) return true;
  }
  return false;
}

// Set once per process. The plugin is never unloaded, because ATen keeps pointers into it.
std::atomic<const TrainerdCudaPlugin*> opened_plugin{nullptr};

// Sets what the CUDA libraries and LibTorch read when they start. The user's values have
// precedence.
void SetCudaVariables() {
  constexpr int kKeep = 0;
  // CUDA's default makes the fastest GPU cuda:0. In this order cuda:N is the GPU N of nvidia-smi.
  ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", kKeep);
  // With workspaces of a fixed size the choices of cuBLAS are repeatable.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", kKeep);
  // Sequences differ in length, and segments of a fixed size would leave a fifth of the reserved
  // memory unusable. LibTorch reads the second name too.
  if (std::getenv("PYTORCH_ALLOC_CONF") == nullptr &&
      std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr) {
    ::setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True", kKeep);
  }
}

absl::StatusOr<const TrainerdCudaPlugin*> OpenCudaPlugin() {
  if (OpenedCudaPlugin() != nullptr) return OpenedCudaPlugin();
  SetCudaVariables();
  const std::string path = absl::StrCat(FolderOfProgram(), "/", kTrainerdCudaLibrary);
  std::error_code error;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat(path,
                     " does not exist, because this trainerd was built without nvcc 13; build it "
                     "after deploy/install_dependencies.sh --cuda, or use device: cpu"));
  }
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("cannot open ", path, ": ", ::dlerror(),
                     "; install the NVIDIA libraries that PyTorch 2.11 needs "
                     "(deploy/install_dependencies.sh --cuda)"));
  }
  void* symbol = ::dlsym(library, kTrainerdCudaSymbol);
  const TrainerdCudaPlugin* plugin =
      symbol == nullptr ? nullptr : reinterpret_cast<TrainerdCudaPluginFunction>(symbol)();
  if (plugin == nullptr || plugin->abi != kTrainerdCudaAbi) {
    return absl::NotFoundError(absl::StrCat(
        path, " and trainerd-worker are from different builds; build and install them together"));
  }
  opened_plugin = plugin;
  return plugin;
}

// Makes results on CUDA depend on the inputs alone. Call before LibTorch computes there.
void MakeRepeatable(c10::Device device) {
  at::Context& context = at::globalContext();
  // Flash attention's backward and sums by index add in a fixed order. With warn_only, flash
  // attention would take its other variant. No op of ours lacks a deterministic one.
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  // Else LibTorch would fill each new tensor with NaN. Ours are written before they are read.
  context.setDeterministicFillUninitializedMemory(false);
  // cuBLAS adds partial sums of bf16 products in fp32.
  context.setAllowBF16ReductionCuBLAS(false);
  // Else the first call without a device creates a context on cuda:0, which another job may hold.
  c10::impl::getDeviceGuardImpl(c10::kCUDA)->setDevice(device);
}

// The number of cuda devices that the driver lists. Errors: NotFound with the reason.
absl::StatusOr<int32_t> CountCudaDevices(const TrainerdCudaPlugin& plugin) {
  char reason[256] = "";
  const int32_t count = plugin.device_count(reason, sizeof(reason));
  if (count < 0) return absl::NotFoundError(absl::StrCat("CUDA cannot be used: ", reason));
  return count;
}

DeviceDescription DescribeCpu() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES);
  return {.name = "cpu", .model = CpuName(), .memory_bytes = pages * ::sysconf(_SC_PAGESIZE)};
}

}  // namespace

const TrainerdCudaPlugin* OpenedCudaPlugin() { return opened_plugin; }

GpuEnvironment ReadGpuEnvironment(c10::Device device) {
  const TrainerdCudaPlugin* plugin = device.is_cuda() ? OpenedCudaPlugin() : nullptr;
  TrainerdCudaDevice description{};
  if (plugin == nullptr || plugin->describe(device.index(), &description) != 0) return {};
  return {
      .model = description.model, .driver = description.driver, .libraries = description.libraries};
}

std::vector<DeviceDescription> ListDevices() {
  std::vector<DeviceDescription> devices{DescribeCpu()};
  if (!HasNvidiaDevice()) return devices;
  const auto unavailable = [&](const absl::Status& status) {
    devices.push_back(
        {.name = "cuda:0", .model = "NVIDIA", .unavailable = std::string(status.message())});
  };
  const absl::StatusOr<const TrainerdCudaPlugin*> plugin = OpenCudaPlugin();
  if (!plugin.ok()) {
    unavailable(plugin.status());
    return devices;
  }
  const absl::StatusOr<int32_t> count = CountCudaDevices(**plugin);
  if (!count.ok()) {
    unavailable(count.status());
    return devices;
  }
  for (int32_t i = 0; i < *count; ++i) {
    TrainerdCudaDevice description{};
    if ((*plugin)->describe(i, &description) != 0) {
      devices.push_back({.name = absl::StrCat("cuda:", i),
                         .model = "NVIDIA",
                         .unavailable = "the driver returns no properties of it; run nvidia-smi"});
      continue;
    }
    devices.push_back({.name = absl::StrCat("cuda:", i),
                       .model = description.model,
                       .uuid = description.uuid,
                       .memory_bytes = description.memory_bytes,
                       .unavailable = description.unavailable});
  }
  return devices;
}

absl::StatusOr<c10::Device> OpenDevice(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  int32_t index = 0;
  if (name != "cuda" &&
      (name.substr(0, 5) != "cuda:" || !absl::SimpleAtoi(name.substr(5), &index) || index < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown device \"", name, "\"; use cpu or cuda:N"));
  }
  if (!HasNvidiaDevice()) {
    return absl::NotFoundError(absl::StrCat(
        "no such device: ", name, "; this machine has no NVIDIA device, use device: cpu"));
  }
  const absl::StatusOr<const TrainerdCudaPlugin*> plugin = OpenCudaPlugin();
  if (!plugin.ok())
    return absl::NotFoundError(
        absl::StrCat("no such device: ", name, "; ", plugin.status().message()));
  const absl::StatusOr<int32_t> count = CountCudaDevices(**plugin);
  if (!count.ok())
    return absl::NotFoundError(
        absl::StrCat("no such device: ", name, "; ", count.status().message()));
  if (index >= *count) {
    return absl::NotFoundError(absl::StrCat("no such device: ", name, "; this machine has ", *count,
                                            " (cuda:0 to cuda:", *count - 1, ")"));
  }
  const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
  RETURN_IF_ERROR(Annotate(CatchTorch([&] { MakeRepeatable(device); }), "open ", name));
  return device;
}

std::optional<DeviceMemory> ReadDeviceMemory(c10::Device device) {
  if (device.is_cpu()) {
    const std::optional<ProcessMemory> memory = ReadProcessMemory();
    if (!memory.has_value()) return std::nullopt;
    return DeviceMemory{memory->resident_bytes, memory->peak_resident_bytes};
  }
  const TrainerdCudaPlugin* plugin = OpenedCudaPlugin();
  DeviceMemory memory;
  if (plugin == nullptr || plugin->memory(device.index(), &memory.bytes, &memory.peak_bytes) != 0)
    return std::nullopt;
  return memory;
}

}  // namespace trainerd::engine
