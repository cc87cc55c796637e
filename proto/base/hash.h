// SPDX-License-Identifier: Apache-2.0
// XXH3-128 (manifests, fingerprints) and SHA-256 (configuration digests, uploads), as bytes and as
// hex.
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

// Streaming SHA-256. Not thread-safe.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;
  void Update(std::string_view data);
  std::string Digest();  // 32 bytes; call it once, last

 private:
  void* context_;
};

std::string Xxh3(std::string_view data);    // 16 bytes
std::string Sha256(std::string_view data);  // 32 bytes
std::string ToHex(std::string_view bytes);

}  // namespace trainerd
