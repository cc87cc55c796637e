// SPDX-License-Identifier: Apache-2.0
#include "proto/base/free_space.h"

#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

namespace trainerd {

absl::Status CheckSpace(const std::string& path, int64_t needed) {
  ASSIGN_OR_RETURN(const int64_t free, FreeBytes(path));
  if (free >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("it needs ", FormatBytes(needed), " in ", path,
                                                   ", ", FormatBytes(free),
                                                   " are free; free some space"));
}

}  // namespace trainerd
