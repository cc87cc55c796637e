// SPDX-License-Identifier: Apache-2.0
// Archives are made in the test by zlib and zstd themselves.
#include "engine/data/source/files/byte_source.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <random>
#include <utility>
#include <vector>

#include "engine/data/source/jsonl_reader.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// With a checksum, as the zstd program writes it.
std::string Zstd(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return packed;
}

absl::StatusOr<std::string> ReadAll(const std::string& path, size_t piece = 4096) {
  auto source = OpenByteSource(path);
  if (!source.ok()) return source.status();
  std::string text;
  std::string buffer(piece, '\0');
  for (;;) {
    const auto count = (*source)->Read(buffer.data(), buffer.size());
    if (!count.ok()) return count.status();
    if (*count == 0) break;
    text.append(buffer, 0, *count);
  }
  EXPECT_EQ((*source)->bytes_read(), (*source)->size_bytes());
  return text;
}

// Text of which a part packs well and a part hardly.
std::string SomeText() {
  std::mt19937 random(3);
  std::string text(300000, 'x');
  for (int i = 0; i < 700000; ++i) text.push_back(static_cast<char>('a' + random() % 26));
  return text;
}

TEST(ByteSourceTest, UnpacksByContentNotByName) {
  const TempDir folder;
  const std::string text = SomeText();
  for (const size_t piece : {1000, 4096, 1 << 20}) {
    EXPECT_EQ(*ReadAll(folder.Write("plain.gz", text), piece), text);
    EXPECT_EQ(*ReadAll(folder.Write("a.jsonl", Gzip(text)), piece), text);
    EXPECT_EQ(*ReadAll(folder.Write("b.jsonl", Zstd(text)), piece), text);
  }
}

TEST(ByteSourceTest, ReadsArchivesThatStandBehindEachOther) {
  const TempDir folder;
  EXPECT_EQ(*ReadAll(folder.Write("a", Gzip("one") + Gzip("two"))), "onetwo");
  EXPECT_EQ(*ReadAll(folder.Write("b", Zstd("one") + Zstd("two"))), "onetwo");
}

TEST(ByteSourceTest, SaysWhenAnArchiveWasCutOffOrDamaged) {
  const TempDir folder;
  const std::string text = SomeText();
  for (const std::string& packed : {Gzip(text), Zstd(text)}) {
    for (const size_t kept : {packed.size() - 1, packed.size() / 2, size_t{5}}) {
      const auto cut = ReadAll(folder.Write("a", packed.substr(0, kept)));
      ASSERT_FALSE(cut.ok()) << kept;
      EXPECT_NE(cut.status().message().find("it was cut off, copy it again"),
                absl::string_view::npos);
    }
    std::string damaged = packed;
    for (size_t i = damaged.size() / 2; i < damaged.size() / 2 + 64; ++i) damaged[i] ^= 0x55;
    const auto bad = ReadAll(folder.Write("b", damaged));
    ASSERT_FALSE(bad.ok());
    EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ByteSourceTest, LinesOfAnArchiveAreNumberedLikeThoseOfAFile) {
  const TempDir folder;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "{\"line\":" + std::to_string(i + 1) + "}\n";
  for (const std::string& contents : {text, Gzip(text), Zstd(text)}) {
    auto reader = JsonlReader::Open(folder.Write("a", contents), {.block_bytes = 512});
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::vector<JsonlLine> lines;
    int64_t number = 0;
    for (;;) {
      ASSERT_TRUE((*reader)->ReadBlock(&lines).ok());
      if (lines.empty()) break;
      for (const JsonlLine& line : lines) {
        EXPECT_EQ(line.number, ++number);
        EXPECT_EQ(line.text, "{\"line\":" + std::to_string(number) + "}");
      }
    }
    EXPECT_EQ(number, 3000);
    EXPECT_EQ((*reader)->bytes_done(), (*reader)->size_bytes());
  }
}

TEST(ByteSourceTest, NamesWhatIsWrongWithThePath) {
  const TempDir folder;
  EXPECT_EQ(OpenByteSource(folder.path() + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(OpenByteSource(folder.path()).status().message().find("is a folder"),
            absl::string_view::npos);
}

// To open one of these would wait for a writer, or read without an end.
TEST(ByteSourceTest, RefusesWhatIsNoRegularFileAlsoThroughLinks) {
  const TempDir folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(symlink("pipe", (folder / "link").c_str()), 0);
  ASSERT_EQ(symlink("/dev/zero", (folder / "zero").c_str()), 0);
  for (const auto& [path, kind] :
       std::vector<std::pair<std::string, std::string>>{{folder / "pipe", "is a pipe"},
                                                        {folder / "link", "is a pipe"},
                                                        {folder / "zero", "is a device"},
                                                        {"/dev/urandom", "is a device"}}) {
    const absl::Status status = OpenByteSource(path).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << ": " << status;
    EXPECT_NE(status.message().find(kind), absl::string_view::npos) << status;
  }
}

}  // namespace
}  // namespace trainerd::engine
