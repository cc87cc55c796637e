// SPDX-License-Identifier: Apache-2.0
// The inbox: a folder whose job files are submitted once each and then moved to accepted/, or to
// rejected/ with FILE.reason. The request_id of a submit comes from the contents and the identity
// of the file, so that a crash between the submit and the move submits nothing twice.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/fd.h"
#include "proto/base/process/wake_up.h"
#include "proto/base/time.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

class Inbox {
 public:
  struct Options {
    // Created if it does not exist, with its sub-folders.
    std::string folder;
    // Of the daemon's user, for ~/ in a job file.
    std::string home;
    std::function<absl::StatusOr<v1::SubmitJobResponse>(const v1::SubmitJobRequest&)> submit;
    // The folder is read this often.
    absl::Duration every = absl::Seconds(1);
    // A file that was just written is left alone for this long.
    absl::Duration settle_time = absl::Seconds(1);
    std::function<absl::Time()> clock = SteadyNow;
  };
  // Errors: of MakeDirectories; FailedPrecondition if every user may write to the folder, since
  // whoever does submits as the daemon's user.
  static absl::StatusOr<std::unique_ptr<Inbox>> Open(Options options);
  ~Inbox();

  void Start();
  // Ends the thread. Idempotent.
  void Stop();

  // Reads the folder once: submits and moves what is complete. Call it only where the thread was
  // not started.
  void ReadOnce();

 private:
  // A file as it was when it was read last.
  struct Seen {
    ino_t inode = 0;
    off_t size = 0;
    int64_t modified_ns = 0;
    // Unchanged since, or not to be submitted before.
    absl::Time since, not_before;
    absl::Duration back_off;
  };

  Inbox(Options options, Fd folder) : options_(std::move(options)), folder_(std::move(folder)) {}
  void Loop();
  // Submits or rejects the file if it is complete.
  void TakeFile(const std::string& name);
  // Whether nobody writes to the file any more.
  bool IsComplete(const std::string& name, int fd, const struct stat& file);
  void Submit(const std::string& name, const Fd& fd, const struct stat& file);
  void Accept(const std::string& name, const struct stat& file, const std::string& job);
  void Reject(const std::string& name, const struct stat& file, const std::string& reason);
  void Defer(const std::string& name, const std::string& reason);

  const Options options_;
  const Fd folder_;
  // Of the thread. Names that are no longer there are removed.
  std::map<std::string, Seen> seen_;
  bool read_error_logged_ = false;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

// Whether the inbox takes a file of this name: *.yaml or *.yml, not hidden.
bool IsInboxFile(const std::string& name);

// The same for the same file with the same contents, also after a restart; another one after each
// change and for each copy. At most 128 bytes.
std::string InboxRequestId(const struct stat& file, const std::string& contents);

}  // namespace trainerd::server
