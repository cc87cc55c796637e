// SPDX-License-Identifier: Apache-2.0
// Complete switches over proto enums, so that a new value does not compile until it is handled. A
// switch without a default has to list the two values that protoc adds to every enum:
//
//   switch (state) {
//     case v1::Job::QUEUED: …
//     case kMinSentinel<v1::Job::State>:
//     case kMaxSentinel<v1::Job::State>:
//       break;
//   }
#pragma once

#include <cstdint>
#include <limits>

namespace trainerd {

template <typename Enum>
inline constexpr Enum kMinSentinel = static_cast<Enum>(std::numeric_limits<int32_t>::min());
template <typename Enum>
inline constexpr Enum kMaxSentinel = static_cast<Enum>(std::numeric_limits<int32_t>::max());

}  // namespace trainerd
