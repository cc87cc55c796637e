// SPDX-License-Identifier: Apache-2.0
// Verifies the hash chain of the audit log, page by page.
#pragma once

#include <cstdint>
#include <string>

#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

class AuditChain {
 public:
  struct Result {
    // The first entry that does not fit; 0: all fit.
    int64_t bad_seq = 0;
    std::string problem;
  };
  // The next page, requested without filters.
  Result Add(const v1::ListAuditEntriesResponse& page);

  int64_t count() const { return count_; }
  // Of the last entry; 0 and empty if there is none.
  int64_t last_seq() const { return last_seq_; }
  const std::string& last_hash() const { return hash_; }

 private:
  std::string start_;
  std::string hash_;
  int64_t last_seq_ = 0;
  int64_t count_ = 0;
};

}  // namespace trainerd::client
