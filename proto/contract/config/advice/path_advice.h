// SPDX-License-Identifier: Apache-2.0
// What is probably wrong with a path of a job file at which nothing exists.
#pragma once

#include <string>

namespace trainerd {

// The URL that a path was made absolute from ("/jobs/https:/host/x" → "https://host/x"); "" if it
// is none.
std::string UrlInPath(const std::string& path);

// Advice for the absolute `path`: a URL, a pattern, a variable, or another name in the same folder
// that is nearly the same. "" if there is none.
std::string MissingPathAdvice(const std::string& path);

}  // namespace trainerd
