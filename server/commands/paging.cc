// SPDX-License-Identifier: Apache-2.0
#include "server/commands/paging.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/config_violation.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
// At most tag and size of an element.
constexpr size_t kElementBytes = 8;

}  // namespace

absl::StatusOr<int> PageSize(int requested) {
  if (requested < 0 || requested > kMaxPage) {
    return BadField("page_size", absl::StrCat(requested, " is not in 0..", kMaxPage));
  }
  return requested == 0 ? kDefaultPage : requested;
}

absl::StatusOr<int64_t> PageToken(const std::string& token) {
  int64_t value = 0;
  if (token.empty()) return value;
  if (absl::SimpleAtoi(token, &value) && value > 0) return value;
  return BadField(
      "page_token",
      absl::StrCat(Quoted(token), " is not a token of an earlier reply; use next_page_token"));
}

bool PageFill::Takes(const google::protobuf::Message& element) {
  const size_t size = element.ByteSizeLong() + kElementBytes;
  refused_ |= left_ == 0 || (bytes_ > 0 && bytes_ + size > kMaxPageBytes);
  if (refused_) return false;
  bytes_ += size;
  --left_;
  return true;
}

}  // namespace trainerd::server
