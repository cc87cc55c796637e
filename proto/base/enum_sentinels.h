// SPDX-License-Identifier: Apache-2.0
// Complete switches over proto enums, so that a new value is a compile error where it matters.
#pragma once

// The two values that protoc adds to every open enum, as `case` labels without the last colon:
//
//   switch (state) {
//     case v1::Job::QUEUED: …
//     TRAINERD_ENUM_SENTINELS(v1, Job_State):
//       break;
//   }
#define TRAINERD_ENUM_SENTINELS(space, Enum)                \
  case space::Enum##_##Enum##_INT_MIN_SENTINEL_DO_NOT_USE_: \
  case space::Enum##_##Enum##_INT_MAX_SENTINEL_DO_NOT_USE_
