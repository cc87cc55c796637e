// SPDX-License-Identifier: Apache-2.0
// Everything that the tokens of a job depend on, as one key: the contents of its data files in
// their order, the tokenizer's files, the template's text, the settings that change tokens or
// findings, and the code that makes them. Not part of it: paths and times of files, seed, weights,
// shuffling, packing (except bfd_split, which keeps long conversations whole) and batch sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/data/source/text_pipeline.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Called periodically; a non-OK status ends the work with that status.
using KeepOn = std::function<absl::Status()>;

// What changes with a file's contents: another file, or a write to it.
struct FileVersion {
  uint64_t device = 0, inode = 0;
  int64_t size = 0;
  absl::Time change_time;
  bool operator==(const FileVersion&) const = default;
};

struct HashedFile {
  std::string hash;  // XXH3-128 of its bytes
  FileVersion version;
};

// Of each data file (DataFiles). Errors: FailedPrecondition if a file is not regular (it can be
// read only once); NotFound; those of reading; those of `keep_on`.
absl::StatusOr<std::vector<HashedFile>> HashDataFiles(const v1::DataConfig& data,
                                                      const KeepOn& keep_on);

// Whether a data file was replaced or written to since HashDataFiles began to read it.
bool HaveDataFilesChanged(const v1::DataConfig& data, const std::vector<HashedFile>& files);

// 32 bytes. Errors: those of reading the tokenizer's files.
absl::StatusOr<std::string> TokenCacheKey(const v1::JobConfig& config, const TextPipeline& text,
                                          const std::vector<HashedFile>& files);

}  // namespace trainerd::engine
