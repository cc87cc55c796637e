// SPDX-License-Identifier: Apache-2.0
// A fault of a configuration, and lists of them as an error.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace trainerd {

// One fault of a configuration.
struct ConfigViolation {
  // Dotted, with [i] for list elements.
  std::string path;
  // What is wrong, the value, the nearest valid key or the allowed values.
  std::string message;
  // From 1; 0 = the value is not from a file.
  int line = 0;
  // The PATH=VALUE of --set that gave the value; empty = another source.
  std::string set;
  // ErrorInfo.reason of an error that has this violation; empty = none of its own.
  std::string reason = "";
};

// What encloses `path`: data.train[0].path → data.train[0] → data.train → data → "".
std::string EnclosingPath(const std::string& path);

// Gives each violation without a line that of its path, or of the nearest enclosing section that
// the file has.
void AttachLines(const std::map<std::string, int>& lines, std::vector<ConfigViolation>* violations);

// `file:line: path: message` lines, without file or line where unknown. A fault of --set names that
// option in place of the file: `--set PATH=VALUE: message`.
std::string ViolationsText(const std::vector<ConfigViolation>& violations,
                           const std::string& file = "");

// INVALID_ARGUMENT whose message is ViolationsText, with a google.rpc.BadRequest payload of them,
// and a google.rpc.ErrorInfo with the first reason if one has a reason.
// gRPC carries at most 8 KiB of status, so what exceeds about a quarter of that is counted in the
// last line ("and 12 more"). OK when there are none.
absl::Status ViolationsToStatus(const std::vector<ConfigViolation>& violations,
                                const std::string& file = "");

// `text` in double quotes, shortened to what an error message can carry, control characters as
// EscapedText writes them.
std::string Quoted(const std::string& text);

}  // namespace trainerd
