// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/files/byte_source.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/advice/path_advice.h"

namespace trainerd::engine {
namespace {

constexpr std::string_view kGzipMagic = "\x1f\x8b", kZstdMagic = "\x28\xb5\x2f\xfd";
constexpr size_t kPackedBlockBytes = 256 << 10;

class PlainSource : public ByteSource {
 public:
  PlainSource(std::string path, Fd fd, int64_t size_bytes)
      : path_(std::move(path)), fd_(std::move(fd)), size_bytes_(size_bytes) {}

  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    for (;;) {
      const ssize_t count = read(fd_.get(), buffer, size);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path_));
      bytes_read_ += count;
      return static_cast<size_t>(count);
    }
  }
  // Reads the first bytes without consuming them.
  std::string Peek(size_t size) const {
    std::string start(size, '\0');
    const ssize_t count = pread(fd_.get(), start.data(), size, 0);
    start.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return start;
  }
  const std::string& path() const { return path_; }
  bool compressed() const override { return false; }
  int64_t size_bytes() const override { return size_bytes_; }
  int64_t bytes_read() const override { return bytes_read_; }

 private:
  const std::string path_;
  const Fd fd_;
  const int64_t size_bytes_;
  int64_t bytes_read_ = 0;
};

// What both archive kinds share: a block of packed bytes that is refilled when it is used up.
class PackedSource : public ByteSource {
 public:
  explicit PackedSource(std::unique_ptr<PlainSource> file)
      : file_(std::move(file)), block_(kPackedBlockBytes) {}
  bool compressed() const override { return true; }
  int64_t size_bytes() const override { return file_->size_bytes(); }
  int64_t bytes_read() const override { return file_->bytes_read(); }

 protected:
  // Makes packed bytes available in [block_ + begin_, block_ + end_); false at the end of the file.
  absl::StatusOr<bool> Refill() {
    if (begin_ < end_) return true;
    ASSIGN_OR_RETURN(end_, file_->Read(block_.data(), block_.size()));
    begin_ = 0;
    return end_ > 0;
  }
  absl::Status Damaged(const char* reason) const {
    return absl::InvalidArgumentError(absl::StrCat(
        file_->path(), ": the compressed data is corrupt: ", reason, "; create the file again"));
  }
  absl::Status CutOff() const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_->path(),
                     ": the compressed data ends too early: it was cut off, copy it "
                     "again"));
  }

  const std::unique_ptr<PlainSource> file_;
  std::vector<char> block_;
  size_t begin_ = 0, end_ = 0;
};

class GzipSource : public PackedSource {
 public:
  explicit GzipSource(std::unique_ptr<PlainSource> file) : PackedSource(std::move(file)) {
    constexpr int kLargestWindow = 15, kGzipOnly = 16;
    TRAINERD_CHECK(inflateInit2(&stream_, kLargestWindow + kGzipOnly) == Z_OK);
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) return in_member_ ? absl::StatusOr<size_t>(CutOff()) : 0;
      in_member_ = true;
      stream_.next_in = reinterpret_cast<Bytef*>(block_.data() + begin_);
      stream_.avail_in = static_cast<uInt>(end_ - begin_);
      stream_.next_out = reinterpret_cast<Bytef*>(buffer);
      stream_.avail_out = static_cast<uInt>(std::min<size_t>(size, 1u << 30));
      const uInt room = stream_.avail_out;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      begin_ = end_ - stream_.avail_in;
      if (result == Z_STREAM_END) {
        // One file may contain several archives, one after another.
        in_member_ = false;
        inflateReset(&stream_);
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return Damaged(stream_.msg == nullptr ? "not gzip" : stream_.msg);
      }
      if (room > stream_.avail_out) return room - stream_.avail_out;
    }
  }

 private:
  z_stream stream_ = {};
  bool in_member_ = false;
};

class ZstdSource : public PackedSource {
 public:
  explicit ZstdSource(std::unique_ptr<PlainSource> file)
      : PackedSource(std::move(file)), stream_(ZSTD_createDStream()) {
    TRAINERD_CHECK(stream_ != nullptr);
  }
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }

  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    ZSTD_outBuffer out = {buffer, size, 0};
    while (out.pos == 0) {
      ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) {
        // The decoder's remaining output comes before the end of the file.
        ZSTD_inBuffer nothing = {nullptr, 0, 0};
        const size_t rest = in_frame_ ? ZSTD_decompressStream(stream_, &out, &nothing) : 0;
        if (ZSTD_isError(rest)) return Damaged(ZSTD_getErrorName(rest));
        if (out.pos == 0 && in_frame_) return CutOff();
        return out.pos;
      }
      ZSTD_inBuffer in = {block_.data() + begin_, end_ - begin_, 0};
      const size_t result = ZSTD_decompressStream(stream_, &out, &in);
      if (ZSTD_isError(result)) return Damaged(ZSTD_getErrorName(result));
      in_frame_ = result != 0;
      begin_ += in.pos;
    }
    return out.pos;
  }

 private:
  ZSTD_DStream* const stream_;
  bool in_frame_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is ", SpecialFileKind(info.st_mode),
                                                   "; name a JSONL file, one conversation per "
                                                   "line"));
  }
  absl::StatusOr<Fd> fd = OpenRegularFile(path);
  if (absl::IsNotFound(fd.status())) {
    const std::string advice = MissingPathAdvice(path);
    return absl::NotFoundError(absl::StrCat(
        path, ": no such file; check the path (it names a file on the machine that trains)",
        advice.empty() ? "" : "; ", advice));
  }
  if (!fd.ok()) return fd.status();
  if (fstat(fd->get(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
  auto file = std::make_unique<PlainSource>(path, *std::move(fd), info.st_size);
  const std::string start = file->Peek(kZstdMagic.size());
  if (std::string_view(start).substr(0, kGzipMagic.size()) == kGzipMagic) {
    return std::make_unique<GzipSource>(std::move(file));
  }
  if (start == kZstdMagic) return std::make_unique<ZstdSource>(std::move(file));
  return file;
}

}  // namespace trainerd::engine
