// SPDX-License-Identifier: Apache-2.0
// One set (training or validation) while it is read: keeps the rows that can be trained, counts the
// others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/data/batch.h"
#include "engine/data/findings.h"
#include "engine/data/row_pipeline.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Thread-safety: one owner at a time.
class ExampleSet {
 public:
  // Per kept example, beside the example itself.
  struct Info {
    int64_t num_tokens = 0;  // before truncation
    int64_t num_targets = 0;
    uint64_t text_hash = 0;
    int32_t source = 0;  // position in data.train
  };

  // `findings` outlives the set. keep_going: see PrepareOptions.
  ExampleSet(const v1::DataConfig& config, std::string lost_bytes_example, bool keep_going,
             Findings* findings);

  // Takes one row of `path`. Errors: InvalidArgument for a bad row, under data.bad_rows.
  absl::Status Add(TokenRow row, const std::string& path, int64_t line, int32_t source);

  std::vector<TokenExample>& examples() { return examples_; }
  std::vector<Info>& infos() { return infos_; }
  int64_t rows_read() const { return rows_read_; }
  int64_t rows_truncated() const { return rows_truncated_; }
  // What became of the rows, for the message that none is left.
  std::string Summary() const;
  // "path:line" of the first kept row with this text; "" = none.
  std::string PlaceOf(uint64_t text_hash) const;

 private:
  absl::Status AddFault(const RowFault& fault, const std::string& path, int64_t line);
  void AddNotes(const TokenRow& row, const std::string& place);

  const v1::DataConfig config_;
  const std::string lost_bytes_example_;
  const bool keep_going_;
  Findings* const findings_;
  std::vector<TokenExample> examples_;
  std::vector<Info> infos_;
  int64_t rows_read_ = 0, rows_truncated_ = 0;
  int64_t rows_bad_ = 0, rows_without_target_ = 0, rows_without_assistant_ = 0, rows_too_long_ = 0;
  struct FirstPlace {
    int32_t path = 0;
    int64_t line = 0;
  };
  std::vector<std::string> paths_;
  absl::flat_hash_map<uint64_t, FirstPlace> first_places_;
};

}  // namespace trainerd::engine
