// SPDX-License-Identifier: Apache-2.0
// The pages of the List calls, as the head of trainer.proto states them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace trainerd::server {

// Of one page: after the first element, none is added that would exceed it.
inline constexpr size_t kMaxPageBytes = size_t{1} << 20;

// Elements of a page. Errors: InvalidArgument for a page_size that is not in 0..1000.
absl::StatusOr<int> PageSize(int requested);

// The number in a page_token; 0 for the first page. Errors: InvalidArgument.
absl::StatusOr<int64_t> PageToken(const std::string& token);

// What fits in a page: at most `elements`, and kMaxPageBytes or one element.
class PageFill {
 public:
  explicit PageFill(int elements) : left_(elements) {}

  // Whether the page takes `element` too. False once, false ever after.
  bool Takes(const google::protobuf::Message& element);
  bool full() const { return refused_ || left_ == 0; }

 private:
  int left_;
  size_t bytes_ = 0;
  bool refused_ = false;
};

}  // namespace trainerd::server
