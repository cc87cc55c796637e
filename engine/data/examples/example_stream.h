// SPDX-License-Identifier: Apache-2.0
// All records of one file through the example pipeline, on several threads, passed on in file
// order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/examples/example_pipeline.h"

namespace trainerd::engine {

struct RowStreamOptions {
  int num_threads = 1;      // that parse and tokenise; the result does not depend on it
  bool keep_text = false;   // TokenRow::text is filled in
  int64_t first_index = 0;  // index of the file's first row
  int64_t max_rows = -1;    // stop after so many; -1 = all
};

// Receives a result and its line (1-based). A non-OK status ends the reading with that status.
using RowSink = std::function<absl::Status(TokenRow row, int64_t line)>;
// Receives the number of bytes of the file that are done, periodically. A non-OK status ends the
// reading with that status.
using ByteProgress = std::function<absl::Status(int64_t bytes_done)>;

// Returns the form of the file's records: ExamplePipeline::fixed_format, else decided by the first
// record with a known form (messages if there is none). Errors: those of JsonlReader::Open, of
// reading, of `sink` and of `progress`.
absl::StatusOr<SourceFormat> StreamRows(const std::string& path, const ExamplePipeline& pipeline,
                                        const RowStreamOptions& options, const RowSink& sink,
                                        const ByteProgress& progress);

// Threads for StreamRows on this machine.
int DefaultRowThreads();

}  // namespace trainerd::engine
