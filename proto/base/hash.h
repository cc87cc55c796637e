// SPDX-License-Identifier: Apache-2.0
// XXH3-128 (manifests, fingerprints) and SHA-256 (configuration digests), as bytes and as hex.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace trainerd {

// Streaming XXH3-128. Not thread-safe.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(const Xxh3Stream&) = delete;
  Xxh3Stream& operator=(const Xxh3Stream&) = delete;
  void Update(const void* data, size_t size);
  std::string Digest() const;  // 16 bytes, canonical (big-endian)
 private:
  void* state_;
};

std::string Xxh3(std::string_view data);    // 16 bytes
std::string Sha256(std::string_view data);  // 32 bytes
std::string ToHex(std::string_view bytes);

}  // namespace trainerd
