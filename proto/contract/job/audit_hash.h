// SPDX-License-Identifier: Apache-2.0
// The hash chain of the audit log, as AuditEntry.hash states it. The daemon writes it, and a client
// computes it again to verify it.
#pragma once

#include <string>
#include <string_view>

#include "trainerd/v1/trainer.pb.h"

namespace trainerd {

// What precedes the hash of entry 1.
std::string AuditChainStart();

// The hash of an entry that follows one with the hash `previous`. entry.hash is not read.
std::string AuditHash(std::string_view previous, const v1::AuditEntry& entry);

}  // namespace trainerd
