// SPDX-License-Identifier: Apache-2.0
// A SQLite VFS whose disk can be made full: files do not grow any more. What is there can be read
// and overwritten.
#pragma once

#include <errno.h>
#include <sqlite3.h>

#include <atomic>

namespace trainerd::server {

class FullDiskVfs {
 public:
  static constexpr char kName[] = "full-disk";
  static FullDiskVfs& Get() {
    static FullDiskVfs* vfs = new FullDiskVfs;
    return *vfs;
  }
  std::atomic<bool> writes_fail{false};
  // It says so as an I/O error with errno, as it does where a file is not grown by a write.
  std::atomic<bool> as_io_error{false};
  // The disk itself fails: every write, and every sync, is an I/O error with EIO.
  std::atomic<bool> is_broken{false};

 private:
  struct File {
    sqlite3_file base;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  FullDiskVfs() {
    real_ = sqlite3_vfs_find(nullptr);
    vfs_ = *real_;
    vfs_.zName = kName;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = Open;
    sqlite3_vfs_register(&vfs_, 0);
  }
  static sqlite3_file* Real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real(); }

  static int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out) {
    file->pMethods = nullptr;
    const int result = Get().real_->xOpen(Get().real_, path, Real(file), flags, out);
    if (result == SQLITE_OK) file->pMethods = Methods();
    return result;
  }
  static int Write(sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
    if (Get().is_broken) {
      errno = EIO;
      return SQLITE_IOERR_WRITE;
    }
    sqlite3_int64 there = 0;
    if (Get().writes_fail && Real(f)->pMethods->xFileSize(Real(f), &there) == SQLITE_OK &&
        at + size > there) {
      errno = ENOSPC;
      return Get().as_io_error ? SQLITE_IOERR_WRITE : SQLITE_FULL;
    }
    return Real(f)->pMethods->xWrite(Real(f), data, size, at);
  }
  static const sqlite3_io_methods* Methods() {
    static const sqlite3_io_methods methods = {
        2,
        [](sqlite3_file* f) { return Real(f)->pMethods->xClose(Real(f)); },
        [](sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
          return Real(f)->pMethods->xRead(Real(f), data, size, at);
        },
        Write,
        [](sqlite3_file* f, sqlite3_int64 size) {
          return Real(f)->pMethods->xTruncate(Real(f), size);
        },
        [](sqlite3_file* f, int flags) {
          if (!Get().is_broken) return Real(f)->pMethods->xSync(Real(f), flags);
          errno = EIO;
          return SQLITE_IOERR_FSYNC;
        },
        [](sqlite3_file* f, sqlite3_int64* size) {
          return Real(f)->pMethods->xFileSize(Real(f), size);
        },
        [](sqlite3_file* f, int level) { return Real(f)->pMethods->xLock(Real(f), level); },
        [](sqlite3_file* f, int level) { return Real(f)->pMethods->xUnlock(Real(f), level); },
        [](sqlite3_file* f, int* out) {
          return Real(f)->pMethods->xCheckReservedLock(Real(f), out);
        },
        [](sqlite3_file* f, int op, void* arg) {
          return Real(f)->pMethods->xFileControl(Real(f), op, arg);
        },
        [](sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); },
        [](sqlite3_file* f) { return Real(f)->pMethods->xDeviceCharacteristics(Real(f)); },
        [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
          return Real(f)->pMethods->xShmMap(Real(f), page, size, extend, out);
        },
        [](sqlite3_file* f, int offset, int n, int flags) {
          return Real(f)->pMethods->xShmLock(Real(f), offset, n, flags);
        },
        [](sqlite3_file* f) { Real(f)->pMethods->xShmBarrier(Real(f)); },
        [](sqlite3_file* f, int remove) { return Real(f)->pMethods->xShmUnmap(Real(f), remove); },
        nullptr,
        nullptr,
    };
    return &methods;
  }

  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
};

}  // namespace trainerd::server
