// SPDX-License-Identifier: Apache-2.0
// Early return for absl::Status, context for errors, and checks for
// programmer errors.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace trainerd {

// `status` with "context: " in front of its message; same code and payloads.
template <typename... Parts>
absl::Status Annotate(const absl::Status& status, const Parts&... context) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(context..., ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

}  // namespace trainerd

#define TRAINERD_CONCAT_INNER_(a, b) a##b
#define TRAINERD_CONCAT_(a, b) TRAINERD_CONCAT_INNER_(a, b)

#define RETURN_IF_ERROR(expression)                                                           \
  do {                                                                                        \
    if (absl::Status status_macro_ = (expression); !status_macro_.ok()) return status_macro_; \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_IMPL_(TRAINERD_CONCAT_(status_or_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_IMPL_(temporary, declaration, expression) \
  auto temporary = (expression);                                   \
  if (!temporary.ok()) return std::move(temporary).status();       \
  declaration = *std::move(temporary)

// Aborts the process on a programmer error. Never for input, files or peers.
#define TRAINERD_CHECK(condition)                                                        \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
