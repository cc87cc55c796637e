// SPDX-License-Identifier: Apache-2.0
#include "client/commands/access/audit_chain.h"

#include "absl/strings/str_cat.h"
#include "proto/contract/job/audit_hash.h"

namespace trainerd::client {

AuditChain::Result AuditChain::Add(const v1::ListAuditEntriesResponse& page) {
  for (const v1::AuditEntry& entry : page.entries()) {
    // The first page, or older entries have expired since the page before.
    const bool restarts =
        last_seq_ == 0 || (entry.seq() > last_seq_ + 1 && page.start_hash() != start_);
    if (restarts) hash_ = start_ = page.start_hash();
    if (!restarts && entry.seq() != last_seq_ + 1) {
      return {.bad_seq = entry.seq(),
              .problem = absl::StrCat("it follows entry ", last_seq_,
                                      "; the entries between them are missing")};
    }
    if (AuditHash(hash_, entry) != entry.hash()) {
      return {.bad_seq = entry.seq(),
              .problem =
                  "its hash is not that of its values and of the entry before it; one of "
                  "them was changed or removed"};
    }
    hash_ = entry.hash();
    last_seq_ = entry.seq();
    ++count_;
  }
  return {};
}

}  // namespace trainerd::client
