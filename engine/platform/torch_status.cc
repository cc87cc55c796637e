// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/torch_status.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

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

}  // namespace

absl::Status StatusOfCurrentException() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of device memory: ", error.what_without_backtrace(), kMemoryAdvice));
  } catch (const c10::Error& error) {
    const absl::string_view message = error.what_without_backtrace();
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
