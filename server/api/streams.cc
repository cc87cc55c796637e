// SPDX-License-Identifier: Apache-2.0
#include "server/api/streams.h"

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "server/store/errors.h"

namespace trainerd::server {

absl::Status StreamLimit::Enter() {
  if (open_.fetch_add(1) < max_) return absl::OkStatus();
  open_.fetch_sub(1);
  return WithRetry(ErrorWithReason(absl::StatusCode::kResourceExhausted, "WATCHERS",
                                   absl::StrCat(Counted(max_, "stream"), max_ == 1 ? " is" : " are",
                                                " open, which is the limit (max_watchers); close "
                                                "some and call again")),
                   absl::Seconds(10));
}

}  // namespace trainerd::server
