// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/torch_status.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/core/job_error.h"

namespace trainerd::engine {
namespace {

constexpr char kMemoryAdvice[] =
    "; lower train.batch_size or data.max_length (gradient_accumulation keeps the step's size), or "
    "free memory on the device";

// The CPU allocator throws a plain c10::Error whose text starts with its own name.
bool IsAllocatorFailure(absl::string_view message) {
  return absl::StrContains(message, "DefaultCPUAllocator") ||
         absl::StrContains(message, "can't allocate memory") ||
         absl::StrContains(message, "not enough memory");
}

// cuBLAS's status is known by its text alone. CUDA has no room left for its workspace.
bool IsCublasAllocationFailure(absl::string_view message) {
  return absl::StrContains(message, "CUBLAS_STATUS_ALLOC_FAILED");
}

// A library or the driver reports that the device did not execute what it was given. These are
// plain c10::Errors.
bool IsDeviceFault(absl::string_view message) {
  return absl::StrContains(message, "CUBLAS_STATUS_EXECUTION_FAILED") ||
         absl::StrContains(message, "CUBLAS_STATUS_MAPPING_ERROR") ||
         absl::StrContains(message, "CUDNN_STATUS_EXECUTION_FAILED") ||
         absl::StrContains(message, "CUDA driver error");
}

// LibTorch appends general advice to the error in further lines.
absl::string_view FirstLine(absl::string_view text) { return text.substr(0, text.find('\n')); }

absl::Status OutOfDeviceMemory(absl::string_view message) {
  return absl::ResourceExhaustedError(
      absl::StrCat("out of device memory: ", message, kMemoryAdvice));
}

// After a fault, each further call of the process fails. A new process may succeed.
absl::Status DeviceFault(absl::string_view message) {
  return WithCause(
      absl::UnavailableError(absl::StrCat(
          "the device failed: ", FirstLine(message),
          "; if it happens again, read the driver's messages (dmesg, lines with NVRM or Xid)")),
      {.code = "DEVICE_FAULT", .cause = v1::JobError::HARDWARE, .retryable = true});
}

absl::Status StatusOfCudaError(const c10::AcceleratorError& error) {
  // The values of cudaError_t that do not come from the device.
  constexpr int32_t kInvalidValue = 1, kMemoryAllocation = 2, kInvalidConfiguration = 9;
  const absl::string_view message = error.what_without_backtrace();
  switch (error.get_error_code()) {
    case kMemoryAllocation:
      return OutOfDeviceMemory(FirstLine(message));
    case kInvalidValue:
    case kInvalidConfiguration:
      return absl::InternalError(absl::StrCat("LibTorch: ", message));
    default:
      return DeviceFault(message);
  }
}

}  // namespace

absl::Status StatusOfCurrentException() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfDeviceMemory(error.what_without_backtrace());
  } catch (const c10::AcceleratorError& error) {
    return StatusOfCudaError(error);
  } catch (const c10::Error& error) {
    const absl::string_view message = error.what_without_backtrace();
    if (IsCublasAllocationFailure(message)) return OutOfDeviceMemory(FirstLine(message));
    if (IsDeviceFault(message)) {
      const bool is_memory = absl::StrContains(message, "out of memory");
      return is_memory ? OutOfDeviceMemory(FirstLine(message)) : DeviceFault(message);
    }
    if (IsAllocatorFailure(message)) {
      return absl::ResourceExhaustedError(absl::StrCat("out of memory: ", message, kMemoryAdvice));
    }
    return absl::InternalError(absl::StrCat("LibTorch: ", message));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat("out of memory", kMemoryAdvice));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("unexpected exception: ", error.what()));
  }
}

}  // namespace trainerd::engine
