// SPDX-License-Identifier: Apache-2.0
// A SQLite VFS that records every write, truncation, deletion and sync, so that a test can rebuild
// what a disk may hold after a power cut at any moment: everything that was synced, and any part of
// what was not. The shared-memory index passes through: it does not survive.
#pragma once

#include <sqlite3.h>

#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace trainerd::server {

class PowerCutVfs {
 public:
  struct Operation {
    enum class Kind { kWrite, kTruncate, kSync, kDelete } kind;
    std::string file;  // name without folder
    int64_t offset = 0;
    std::string data;
  };

  static constexpr char kName[] = "power-cut";
  static PowerCutVfs& Get() {
    static PowerCutVfs* vfs = new PowerCutVfs;
    return *vfs;
  }

  void Clear() {
    std::lock_guard lock(mutex_);
    operations_.clear();
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return operations_.size();
  }
  // Files as the disk may hold them when the power goes after `count` operations. A write that was
  // not synced is kept with probability 1/2.
  std::map<std::string, std::string> FilesAfter(size_t count, std::mt19937& random) {
    std::lock_guard lock(mutex_);
    std::map<std::string, size_t> last_sync;
    size_t any_sync = 0;
    for (size_t i = 0; i < count; ++i) {
      if (operations_[i].kind != Operation::Kind::kSync) continue;
      last_sync[operations_[i].file] = any_sync = i;
    }
    std::map<std::string, std::string> files;
    for (size_t i = 0; i < count; ++i) {
      const Operation& op = operations_[i];
      auto synced = last_sync.find(op.file);
      // File systems write names in order: a sync of any file makes earlier deletions durable.
      const bool durable = op.kind == Operation::Kind::kDelete
                               ? i < any_sync
                               : synced != last_sync.end() && i < synced->second;
      if (!durable && random() % 2 == 0) continue;
      std::string& file = files[op.file];
      if (op.kind == Operation::Kind::kTruncate) file.resize(static_cast<size_t>(op.offset));
      if (op.kind == Operation::Kind::kDelete) files.erase(op.file);
      if (op.kind != Operation::Kind::kWrite) continue;
      const size_t end = static_cast<size_t>(op.offset) + op.data.size();
      if (file.size() < end) file.resize(end);
      std::memcpy(file.data() + op.offset, op.data.data(), op.data.size());
    }
    return files;
  }

 private:
  struct File {
    sqlite3_file base;
    std::string* name;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  PowerCutVfs() {
    real_ = sqlite3_vfs_find(nullptr);
    vfs_ = *real_;
    vfs_.zName = kName;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = Open;
    vfs_.xDelete = Delete;
    sqlite3_vfs_register(&vfs_, 0);
  }

  static std::string BaseName(const char* path) {
    const std::string text = path == nullptr ? "" : path;
    return text.substr(text.rfind('/') + 1);
  }
  void Record(Operation operation) {
    std::lock_guard lock(mutex_);
    operations_.push_back(std::move(operation));
  }
  static sqlite3_file* Real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real(); }
  static const std::string& Name(sqlite3_file* file) {
    return *reinterpret_cast<File*>(file)->name;
  }

  static int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out) {
    auto* ours = reinterpret_cast<File*>(file);
    ours->base.pMethods = nullptr;
    const int result = Get().real_->xOpen(Get().real_, path, ours->real(), flags, out);
    if (result != SQLITE_OK) return result;
    ours->name = new std::string(BaseName(path));
    ours->base.pMethods = Methods();
    return SQLITE_OK;
  }
  static int Delete(sqlite3_vfs*, const char* path, int sync) {
    Get().Record({.kind = Operation::Kind::kDelete, .file = BaseName(path)});
    return Get().real_->xDelete(Get().real_, path, sync);
  }
  static const sqlite3_io_methods* Methods() {
    static const sqlite3_io_methods methods = {
        2,
        [](sqlite3_file* f) {
          const int result = Real(f)->pMethods->xClose(Real(f));
          delete reinterpret_cast<File*>(f)->name;
          return result;
        },
        [](sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
          return Real(f)->pMethods->xRead(Real(f), data, size, at);
        },
        [](sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
          Get().Record({Operation::Kind::kWrite, Name(f), at,
                        std::string(static_cast<const char*>(data), static_cast<size_t>(size))});
          return Real(f)->pMethods->xWrite(Real(f), data, size, at);
        },
        [](sqlite3_file* f, sqlite3_int64 size) {
          Get().Record({Operation::Kind::kTruncate, Name(f), size, ""});
          return Real(f)->pMethods->xTruncate(Real(f), size);
        },
        [](sqlite3_file* f, int) {
          // Not passed on: the test's disk is what was recorded.
          Get().Record({Operation::Kind::kSync, Name(f), 0, ""});
          return SQLITE_OK;
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
        // No promise about writes that the power interrupts.
        [](sqlite3_file*) { return 0; },
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
  std::mutex mutex_;
  std::vector<Operation> operations_;
};

}  // namespace trainerd::server
