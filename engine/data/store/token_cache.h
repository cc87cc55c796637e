// SPDX-License-Identifier: Apache-2.0
// Token stores (token_store.h) that are kept for the next job, in one folder, named by a hash of
// their sources (token_cache_key.h).
//
//   KEY.tokens        a finished entry; its readers hold a shared flock
//   KEY.used          a number, decimal: higher = used later. A counter, because clocks can go back
//   .KEY.tmp-PID-N    an entry that is being written; its writer holds an exclusive flock
//   lock              exclusive flock while entries are published or removed
//
// Only complete files get an entry's name (fsync, rename). A killed process leaves at most a
// temporary file, which the next writer removes. A file that a process has locked is never removed;
// a process that has an entry open can read it to its end in any case.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/data/store/store_file.h"
#include "engine/data/store/token_store.h"

namespace trainerd::engine {

// Thread-safety: const methods may be called from many threads and processes at once.
class TokenCache {
 public:
  struct Options {
    std::string folder;       // is made, 0700
    int64_t limit_bytes = 0;  // of all finished entries together
  };
  explicit TokenCache(Options options) : options_(std::move(options)) {}

  // The entry of a key (kStoreKeyBytes), checked completely. Errors: NotFound if there is none;
  // DataLoss for a corrupt one (Publish replaces it); those of reading.
  absl::StatusOr<std::unique_ptr<TokenStore>> Find(const std::string& key) const;

  // An entry that is being written; the file behind `path` is locked.
  struct NewEntry {
    int fd = -1;  // to be owned by a StoreFile
    std::string path;
  };
  // Errors: the folder cannot be made or written.
  absl::StatusOr<NewEntry> Begin(const std::string& key) const;
  // Makes the finished entry durable and gives it its name, after removing older entries for space.
  // `fd` is that of the file and stays usable whatever the result. Errors: ResourceExhausted if the
  // entry does not fit under the limit; those of writing. The temporary file is removed in any
  // case.
  absl::Status Publish(const NewEntry& entry, const std::string& key, int fd, int64_t size) const;
  // Removes what Begin created.
  static void Discard(const NewEntry& entry);

 private:
  std::string PathOf(const std::string& key, const char* suffix) const;
  // Records that the entry was used just now. Requires the lock.
  absl::Status Touch(const std::string& key) const;
  // Removes entries that no process reads, least recently used first, until the others have at most
  // `bytes`. Requires the lock. Returns the size of the remaining entries.
  int64_t ShrinkTo(int64_t bytes, const std::string& keep) const;

  const Options options_;
};

// $TRAINERD_CACHE/tokens, else $XDG_CACHE_HOME/trainerd/tokens, else $HOME/.cache/trainerd/tokens;
// "" when none is set. Null = not set.
std::string TokenCacheFolder(const char* trainerd_cache, const char* xdg_cache_home,
                             const char* home);

}  // namespace trainerd::engine
