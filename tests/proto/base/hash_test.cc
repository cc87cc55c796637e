// SPDX-License-Identifier: Apache-2.0
// Expectations: FIPS 180-2 for SHA-256; the xxHash library's own sanity values for XXH3-128 of
// nothing (seed 0).
#include "proto/base/hash.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

TEST(HashTest, HashesKnownTextsWithSha256) {
  EXPECT_EQ(ToHex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(HashTest, HashesNothingCanonically) {
  EXPECT_EQ(ToHex(Xxh3("")), "99aa06d3014798d86001c324468d497f");
}

TEST(HashTest, StreamsAnyPiecesToSameHash) {
  std::string data(5000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 256);
  for (const size_t piece : {1u, 7u, 255u, 256u, 257u, 5000u}) {
    Xxh3Stream stream;
    for (size_t at = 0; at < data.size(); at += piece)
      stream.Update(data.data() + at, std::min(piece, data.size() - at));
    EXPECT_EQ(stream.Digest(), Xxh3(data)) << piece;
  }
  Xxh3Stream empty;
  empty.Update(nullptr, 0);
  EXPECT_EQ(empty.Digest(), Xxh3(""));
  for (const size_t piece : {1u, 63u, 64u, 65u, 5000u}) {
    Sha256Stream stream;
    for (size_t at = 0; at < data.size(); at += piece) stream.Update(data.substr(at, piece));
    EXPECT_EQ(stream.Digest(), Sha256(data)) << piece;
  }
  EXPECT_EQ(Sha256Stream().Digest(), Sha256(""));
}

TEST(HashTest, PrintsTwoLowerCaseDigitsPerByte) {
  EXPECT_EQ(ToHex(std::string("\x00\x0f\xa0\xff", 4)), "000fa0ff");
}

}  // namespace
}  // namespace trainerd
