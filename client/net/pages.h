// SPDX-License-Identifier: Apache-2.0
// Lists that the daemon returns page by page. Each request has its page_size set.
#pragma once

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/net/connection.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {

// Calls `take` with each page, until it returns false. Errors: of the calls.
template <typename Response, typename Request>
absl::Status ForEachPage(Connection& connection, Request request,
                         absl::FunctionRef<bool(const Response&)> take) {
  do {
    ASSIGN_OR_RETURN(const Response page, connection.Call<Response>(request));
    if (!take(page)) return absl::OkStatus();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

// All pages as one. Errors: of the calls.
template <typename Response, typename Request>
absl::StatusOr<Response> ReadAllPages(Connection& connection, Request request) {
  Response all;
  RETURN_IF_ERROR(ForEachPage<Response>(connection, std::move(request), [&](const Response& page) {
    all.MergeFrom(page);
    return true;
  }));
  all.clear_next_page_token();
  return all;
}

}  // namespace trainerd::client
