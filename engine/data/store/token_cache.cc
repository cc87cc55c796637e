// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kEntrySuffix[] = ".tokens", kUsedSuffix[] = ".used", kTemporaryMark[] = ".tmp-";
// The lock is held for file operations only; whoever holds it longer is stopped, and must not stop
// others.
constexpr int kLockTries = 200;
constexpr long kLockPauseNanoseconds = 10'000'000;

absl::StatusOr<Fd> LockFolder(const std::string& folder) {
  const std::string path = folder + "/lock";
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.get() < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  for (int tries = 0; tries < kLockTries; ++tries) {
    if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return ErrnoStatus(errno, absl::StrCat("lock ", path));
    }
    const timespec pause{.tv_sec = 0, .tv_nsec = kLockPauseNanoseconds};
    nanosleep(&pause, nullptr);
  }
  return absl::UnavailableError(
      absl::StrCat(path, ": another process holds the lock for too long"));
}

// Removes the file if no other process has it open; returns whether it did.
bool RemoveUnused(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0 || flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  return unlink(path.c_str()) == 0;
}

uint64_t ReadStamp(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  uint64_t stamp = 0;
  return text.ok() && absl::SimpleAtoi(*text, &stamp) ? stamp : 0;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  return ListDirectory(folder).value_or(std::vector<std::string>());
}

}  // namespace

std::string TokenCache::PathOf(const std::string& key, const char* suffix) const {
  return absl::StrCat(options_.folder, "/", ToHex(key), suffix);
}

absl::StatusOr<std::unique_ptr<TokenStore>> TokenCache::Find(const std::string& key) const {
  const std::string path = PathOf(key, kEntrySuffix);
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  struct stat info;
  // Held for as long as the store has the file. An entry that was removed just now can still be
  // read.
  if (flock(file.get(), LOCK_SH | LOCK_NB) != 0 || fstat(file.get(), &info) != 0) {
    return ErrnoStatus(errno, absl::StrCat("lock ", path));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<TokenStore> store,
                   TokenStore::Open(StoreFile::OfWhole(file.Release(), path, info.st_size), key));
  // Without the stamp the entry only looks older than it is.
  const absl::StatusOr<Fd> lock = LockFolder(options_.folder);
  if (lock.ok()) (void)Touch(key);
  return store;
}

absl::StatusOr<TokenCache::NewEntry> TokenCache::Begin(const std::string& key) const {
  static std::atomic<uint64_t> counter{0};
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error) {
    return ErrnoStatus(error.value(), absl::StrCat("create ", options_.folder));
  }
  chmod(options_.folder.c_str(), 0700);
  // Under the lock, so that nobody takes the file for an abandoned one before it is locked.
  ASSIGN_OR_RETURN(const Fd lock, LockFolder(options_.folder));
  NewEntry entry;
  entry.path = absl::StrCat(options_.folder, "/.", ToHex(key), kTemporaryMark, getpid(), "-",
                            counter.fetch_add(1, std::memory_order_relaxed));
  unlink(entry.path.c_str());  // of a process with our number that was killed
  entry.fd = open(entry.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (entry.fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", entry.path));
  flock(entry.fd, LOCK_EX | LOCK_NB);
  for (const std::string& name : NamesIn(options_.folder)) {
    if (absl::StrContains(name, kTemporaryMark)) RemoveUnused(options_.folder + "/" + name);
  }
  return entry;
}

void TokenCache::Discard(const NewEntry& entry) { unlink(entry.path.c_str()); }

absl::Status TokenCache::Publish(const NewEntry& entry, const std::string& key, int fd,
                                 int64_t size) const {
  absl::Status status;
  if (fsync(fd) != 0) status = ErrnoStatus(errno, absl::StrCat("fsync ", entry.path));
  absl::StatusOr<Fd> lock = LockFolder(options_.folder);
  if (status.ok()) status = lock.status();
  if (status.ok()) {
    const std::string path = PathOf(key, kEntrySuffix);
    const int64_t others = ShrinkTo(options_.limit_bytes - size, ToHex(key));
    if (others > options_.limit_bytes - size) {
      status = absl::ResourceExhaustedError(absl::StrCat(
          "the tokens take ", FormatBytes(size), " and cache entries in use ", FormatBytes(others),
          "; data.cache_limit is ", options_.limit_bytes / 1'000'000, " MB"));
    } else {
      // The stamp first: an entry without one would be the first to go.
      status = Touch(key);
      if (status.ok()) status = RenameDurable(entry.path, path);
      if (status.ok()) flock(fd, LOCK_SH | LOCK_NB);
    }
  }
  if (!status.ok()) Discard(entry);
  return status;
}

absl::Status TokenCache::Touch(const std::string& key) const {
  uint64_t newest = 0;
  for (const std::string& name : NamesIn(options_.folder)) {
    if (!absl::EndsWith(name, kUsedSuffix)) continue;
    newest = std::max(newest, ReadStamp(options_.folder + "/" + name));
  }
  return WriteFileAtomic(PathOf(key, kUsedSuffix), absl::StrCat(newest + 1));
}

int64_t TokenCache::ShrinkTo(int64_t bytes, const std::string& keep) const {
  struct Entry {
    std::string name;  // without suffix
    uint64_t stamp;
    int64_t size;
  };
  std::vector<Entry> entries;
  std::set<std::string> known = {keep};
  int64_t total = 0;
  const std::vector<std::string> names = NamesIn(options_.folder);
  for (const std::string& file : names) {
    if (!absl::EndsWith(file, kEntrySuffix)) continue;
    const std::string name = file.substr(0, file.size() - sizeof(kEntrySuffix) + 1);
    struct stat info;
    const std::string path = options_.folder + "/" + file;
    known.insert(name);
    // An older entry of this key is about to be replaced.
    if (name == keep || stat(path.c_str(), &info) != 0) continue;
    total += info.st_size;
    entries.push_back(
        {name, ReadStamp(absl::StrCat(options_.folder, "/", name, kUsedSuffix)), info.st_size});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.stamp != b.stamp ? a.stamp < b.stamp : a.name < b.name;
  });
  for (const Entry& entry : entries) {
    if (total <= bytes) break;
    if (!RemoveUnused(absl::StrCat(options_.folder, "/", entry.name, kEntrySuffix))) continue;
    known.erase(entry.name);
    total -= entry.size;
  }
  for (const std::string& file : names) {
    if (!absl::EndsWith(file, kUsedSuffix)) continue;
    const std::string name = file.substr(0, file.size() - sizeof(kUsedSuffix) + 1);
    if (known.count(name) == 0) unlink((options_.folder + "/" + file).c_str());
  }
  return total;
}

std::string TokenCacheFolder(const char* trainerd_cache, const char* xdg_cache_home,
                             const char* home) {
  const auto set = [](const char* value) { return value != nullptr && *value == '/'; };
  if (set(trainerd_cache)) return absl::StrCat(trainerd_cache, "/tokens");
  if (set(xdg_cache_home)) return absl::StrCat(xdg_cache_home, "/trainerd/tokens");
  return set(home) ? absl::StrCat(home, "/.cache/trainerd/tokens") : "";
}

}  // namespace trainerd::engine
