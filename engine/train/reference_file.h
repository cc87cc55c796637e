// SPDX-License-Identifier: Apache-2.0
// RUN_DIR/reference.bin: log-probabilities of pairs of answers under the reference of preference
// tuning. They are computed before the first step, when the weights are those of the start, and
// read by every later attempt. Little-endian.
//
//   header   "TRNDREFS" u32 version u32 zeros key[32] u64 pairs u64 computed pairs   64 bytes
//   values   f64 chosen f64 rejected, for each computed pair
//   trailer  XXH3-128 of all before it                                               16 bytes
//
// The key is a hash of all that the values depend on. A file with fewer computed pairs than pairs
// is of an attempt that was interrupted, and the next one continues it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace trainerd::engine {

inline constexpr size_t kReferenceKeyBytes = 32;

std::string ReferenceFilePath(const std::string& run_dir);

struct ReferenceHeader {
  std::string key;  // kReferenceKeyBytes
  int64_t pairs = 0;
};

// The values of the computed pairs. Errors: NotFound; FailedPrecondition for a file with another
// header; DataLoss for a damaged one; those of reading.
absl::StatusOr<std::vector<double>> ReadReferenceFile(const std::string& run_dir,
                                                      const ReferenceHeader& header);
// Replaces the file durably: after a crash it has its old or its new contents. Errors: those of
// CheckFence and of writing.
absl::Status WriteReferenceFile(const std::string& run_dir, int attempt,
                                const ReferenceHeader& header, absl::Span<const double> values);

}  // namespace trainerd::engine
