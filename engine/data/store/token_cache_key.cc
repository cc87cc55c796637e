// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/token_cache_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/data/source/findings.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::engine {

// SHA-256 over the sources of engine/text and engine/data, made by the build (code_version.cmake):
// no version number that somebody could forget to raise.
extern const char kTokenCodeVersion[];

namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kReadsBetweenLooks = 8;

// A file system stamps changes with a clock that ticks at least this often.
constexpr absl::Duration kClockTick = absl::Milliseconds(20);

FileVersion VersionOf(const struct stat& info) {
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .size = info.st_size,
          .change_time = absl::TimeFromTimespec(info.st_ctim)};
}

// A change within the clock's tick of the one before leaves the same stamp. So that no later change
// can, waits until the last one is older than a tick.
void WaitForTick(const FileVersion& version) {
  const absl::Duration age = absl::Now() - version.change_time;
  if (age >= absl::ZeroDuration() && age < kClockTick) absl::SleepFor(kClockTick - age);
}

absl::StatusOr<HashedFile> HashOpenFile(int fd, const std::string& path, const KeepOn& keep_on) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is not a regular file"));
  }
  const FileVersion version = VersionOf(info);
  WaitForTick(version);
  Xxh3Stream hash;
  std::string block(kReadBytes, '\0');
  for (size_t reads = 1;; ++reads) {
    const ssize_t count = read(fd, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
    if (count == 0) return HashedFile{.hash = hash.Digest(), .version = version};
    hash.Update(block.data(), static_cast<size_t>(count));
    if (reads % kReadsBetweenLooks == 0) RETURN_IF_ERROR(keep_on());
  }
}

void Put(const char* name, const std::string& value, std::string* text) {
  absl::StrAppend(text, name, " ", value.size(), "\n", value, "\n");
}

}  // namespace

absl::StatusOr<std::vector<HashedFile>> HashDataFiles(const v1::DataConfig& data,
                                                      const KeepOn& keep_on) {
  std::vector<HashedFile> hashes;
  for (const std::string& path : DataFiles(data)) {
    // Not blocking: a pipe must not be waited for.
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
    absl::StatusOr<HashedFile> hash = HashOpenFile(fd, path, keep_on);
    close(fd);
    if (!hash.ok()) return hash.status();
    hashes.push_back(*std::move(hash));
    RETURN_IF_ERROR(keep_on());
  }
  return hashes;
}

bool HaveDataFilesChanged(const v1::DataConfig& data, const std::vector<HashedFile>& files) {
  const std::vector<std::string> paths = DataFiles(data);
  for (size_t i = 0; i < paths.size(); ++i) {
    struct stat info;
    if (stat(paths[i].c_str(), &info) != 0 || VersionOf(info) != files[i].version) return true;
  }
  return false;
}

absl::StatusOr<std::string> TokenCacheKey(const v1::JobConfig& config, const TextPipeline& text,
                                          const std::vector<HashedFile>& files) {
  const v1::DataConfig& data = config.data();
  std::string key;
  Put("code", kTokenCodeVersion, &key);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json"}) {
    const absl::StatusOr<std::string> file =
        ReadFile(absl::StrCat(config.model().path(), "/", name));
    if (!file.ok() && !absl::IsNotFound(file.status())) return file.status();
    Put(name, file.ok() ? Xxh3(*file) : "", &key);
  }
  Put("template", text.chat_template->fingerprint(), &key);
  // The moment changes nothing unless the template uses it; system_prompt holds its own date.
  const bool asks = text.chat_template->ReadsVariable("strftime_now");
  Put("now", asks ? data.now() : "", &key);
  Put("profile", EnumText(data.profile()), &key);
  Put("system_prompt", data.system_prompt(), &key);
  Put("train_on", EnumText(data.train_on()), &key);
  Put("preference", config.has_preference() ? "pairs" : "", &key);
  Put("control_tokens", EnumText(data.control_tokens()), &key);
  Put("bad_rows", EnumText(data.bad_rows()), &key);
  const bool refuses_empty = data.findings().empty_answer() == v1::FindingsConfig::REACTION_ERROR;
  Put("empty_answer", refuses_empty ? "bad record" : "", &key);
  const bool whole = SplitsLongExamples(data.packing());
  Put("max_length", whole ? "" : absl::StrCat(data.max_length()), &key);
  Put("too_long", whole ? "" : EnumText(data.too_long()), &key);
  Put("validation", data.validation().empty() ? "" : "last", &key);
  for (const HashedFile& file : files) Put("file", file.hash, &key);
  return Sha256(key);
}

}  // namespace trainerd::engine
