// SPDX-License-Identifier: Apache-2.0
#include "proto/base/secret/random_hex.h"

#include <openssl/rand.h>

#include "proto/base/hash.h"

namespace trainerd {

absl::StatusOr<std::string> RandomHex(size_t bytes) {
  std::string random(bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(bytes)) != 1)
    return absl::InternalError("cannot get random bytes for a token");
  return ToHex(random);
}

}  // namespace trainerd
