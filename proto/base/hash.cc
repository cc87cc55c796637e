// SPDX-License-Identifier: Apache-2.0
#include "proto/base/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

std::string CanonicalBytes(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  return std::string(reinterpret_cast<const char*>(canonical.digest), sizeof(canonical.digest));
}

XXH3_state_t* State(void* state) { return static_cast<XXH3_state_t*>(state); }

EVP_MD_CTX* Context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

constexpr size_t kSha256Bytes = 32;

}  // namespace

Xxh3Stream::Xxh3Stream() : state_(XXH3_createState()) {
  TRAINERD_CHECK(state_ != nullptr);
  XXH3_128bits_reset(State(state_));
}

Xxh3Stream::~Xxh3Stream() { XXH3_freeState(State(state_)); }

void Xxh3Stream::Update(const void* data, size_t size) {
  if (size > 0) XXH3_128bits_update(State(state_), data, size);
}

std::string Xxh3Stream::Digest() const {
  return CanonicalBytes(XXH3_128bits_digest(State(state_)));
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  TRAINERD_CHECK(context_ != nullptr);
  TRAINERD_CHECK(EVP_DigestInit_ex(Context(context_), EVP_sha256(), nullptr) == 1);
}

Sha256Stream::~Sha256Stream() { EVP_MD_CTX_free(Context(context_)); }

void Sha256Stream::Update(std::string_view data) {
  TRAINERD_CHECK(EVP_DigestUpdate(Context(context_), data.data(), data.size()) == 1);
}

std::string Sha256Stream::Digest() {
  unsigned char digest[kSha256Bytes];
  TRAINERD_CHECK(EVP_DigestFinal_ex(Context(context_), digest, nullptr) == 1);
  return std::string(reinterpret_cast<const char*>(digest), sizeof(digest));
}

std::string Xxh3(std::string_view data) {
  return CanonicalBytes(XXH3_128bits(data.data(), data.size()));
}

std::string Sha256(std::string_view data) {
  unsigned char digest[kSha256Bytes];
  unsigned int size = 0;
  TRAINERD_CHECK(EVP_Digest(data.data(), data.size(), digest, &size, EVP_sha256(), nullptr) == 1 &&
                 size == sizeof(digest));
  return std::string(reinterpret_cast<const char*>(digest), sizeof(digest));
}

std::string ToHex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

}  // namespace trainerd
