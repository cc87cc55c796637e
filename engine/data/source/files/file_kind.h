// SPDX-License-Identifier: Apache-2.0
// Files that are no text of JSON records, recognized by their first bytes: what they are and how to
// make JSONL of them.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::engine {

// Bytes from the start of a file that FileKindAdvice needs.
inline constexpr size_t kFileKindBytes = 512;

// "is a Parquet file, not JSON; convert it, for example: …" for a file that begins with `start`; ""
// if it may be JSON.
std::string FileKindAdvice(std::string_view start);

}  // namespace trainerd::engine
