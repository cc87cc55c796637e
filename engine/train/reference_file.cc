// SPDX-License-Identifier: Apache-2.0
#include "engine/train/reference_file.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/core/job_error.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kMagic[] = "TRNDREFS";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 64, kTrailerBytes = 16, kComputedOffset = 56;

template <typename Number>
void Put(Number number, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&number), sizeof(number));
}

// Without the number of computed pairs.
std::string HeaderStart(const ReferenceHeader& header) {
  TRAINERD_CHECK(header.key.size() == kReferenceKeyBytes);
  std::string bytes(kMagic);
  Put(kVersion, &bytes);
  Put(uint32_t{0}, &bytes);
  bytes += header.key;
  Put(static_cast<uint64_t>(header.pairs), &bytes);
  return bytes;
}

absl::Status WriteDurable(const std::string& path, std::string_view bytes) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.is_open()) return ErrnoStatus(errno, path);
  RETURN_IF_ERROR(WriteAll(file.get(), bytes, path));
  return FsyncPath(path);
}

}  // namespace

std::string ReferenceFilePath(const std::string& run_dir) { return run_dir + "/reference.bin"; }

absl::StatusOr<std::vector<double>> ReadReferenceFile(const std::string& run_dir,
                                                      const ReferenceHeader& header) {
  const std::string path = ReferenceFilePath(run_dir);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  const std::string_view all = bytes;
  if (all.size() < kHeaderBytes + kTrailerBytes ||
      Xxh3(all.substr(0, all.size() - kTrailerBytes)) != all.substr(all.size() - kTrailerBytes)) {
    return absl::DataLossError(absl::StrCat(path, " is damaged"));
  }
  if (all.substr(0, kComputedOffset) != HeaderStart(header)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is of other pairs, or of another model or precision"));
  }
  uint64_t computed = 0;
  std::memcpy(&computed, bytes.data() + kComputedOffset, sizeof(computed));
  const size_t value_bytes = all.size() - kHeaderBytes - kTrailerBytes;
  if (computed > static_cast<uint64_t>(header.pairs) ||
      value_bytes != computed * 2 * sizeof(double)) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it has ", value_bytes,
                                            " bytes of values for ", computed, " pairs"));
  }
  std::vector<double> values(2 * computed);
  if (!values.empty()) std::memcpy(values.data(), bytes.data() + kHeaderBytes, value_bytes);
  return values;
}

absl::Status WriteReferenceFile(const std::string& run_dir, int attempt,
                                const ReferenceHeader& header, absl::Span<const double> values) {
  std::string bytes = HeaderStart(header);
  Put(static_cast<uint64_t>(values.size() / 2), &bytes);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
  bytes += Xxh3(bytes);
  const std::string temporary = absl::StrCat(run_dir, "/", TemporaryName(attempt, "reference"));
  RETURN_IF_ERROR(WriteDurable(temporary, bytes));
  RETURN_IF_ERROR(CheckFence(run_dir, attempt));
  return RenameDurable(temporary, ReferenceFilePath(run_dir));
}

}  // namespace trainerd::engine
