// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/audit_hash.h"

#include "absl/strings/str_cat.h"
#include "proto/base/hash.h"
#include "proto/base/time.h"

namespace trainerd {
namespace {

constexpr size_t kHashBytes = 32;

}  // namespace

std::string AuditChainStart() { return std::string(kHashBytes, '\0'); }

std::string AuditHash(std::string_view previous, const v1::AuditEntry& entry) {
  Sha256Stream hash;
  hash.Update(previous);
  const auto add = [&](std::string_view value) {
    hash.Update(value);
    hash.Update({"\0", 1});
  };
  add(absl::StrCat(entry.seq()));
  add(absl::StrCat(absl::ToUnixMicros(FromProto(entry.time()))));
  for (const std::string* text :
       {&entry.principal(), &entry.peer(), &entry.method(), &entry.resource(), &entry.request_id()})
    add(*text);
  add(absl::StrCat(entry.code()));
  return hash.Digest();
}

}  // namespace trainerd
