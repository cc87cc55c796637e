// SPDX-License-Identifier: Apache-2.0
#include "client/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

extern char** environ;

namespace trainerd::client {
namespace {

constexpr size_t kMaxOutputBytes = size_t{1} << 30;

struct Pipe {
  int read_fd = -1;
  int write_fd = -1;
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  void CloseRead() {
    if (read_fd >= 0) close(read_fd);
    read_fd = -1;
  }
  void CloseWrite() {
    if (write_fd >= 0) close(write_fd);
    write_fd = -1;
  }
  absl::Status Open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
    read_fd = fds[0];
    write_fd = fds[1];
    return absl::OkStatus();
  }
};

// Reads both pipes until both are closed, so that neither can fill up and stop the child.
absl::Status Collect(Pipe* output, Pipe* errors, ProcessResult* result) {
  char buffer[65536];
  while (output->read_fd >= 0 || errors->read_fd >= 0) {
    // poll ignores negative descriptors.
    pollfd fds[2] = {{output->read_fd, POLLIN, 0}, {errors->read_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "poll");
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents == 0) continue;
      const ssize_t got = read(fds[i].fd, buffer, sizeof(buffer));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        (i == 0 ? output : errors)->CloseRead();
        continue;
      }
      std::string& text = i == 0 ? result->output : result->errors;
      text.append(buffer, static_cast<size_t>(got));
      if (text.size() > kMaxOutputBytes)
        return absl::ResourceExhaustedError("it prints more than 1 GiB: ask for less with --limit");
    }
  }
  return absl::OkStatus();
}

int WaitFor(pid_t pid) {
  int state = 0;
  while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

}  // namespace

absl::StatusOr<ProcessResult> RunProgram(const std::string& program,
                                         const std::vector<std::string>& arguments) {
  Pipe output;
  Pipe errors;
  RETURN_IF_ERROR(output.Open());
  RETURN_IF_ERROR(errors.Open());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.write_fd, STDERR_FILENO);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == ENOENT) return absl::NotFoundError(absl::StrCat(program, " does not exist"));
  if (failed != 0)
    return absl::UnavailableError(
        absl::StrCat("cannot start ", program, ": ", std::strerror(failed)));
  output.CloseWrite();
  errors.CloseWrite();
  ProcessResult result;
  const absl::Status collected = Collect(&output, &errors, &result);
  // A child that still writes meets a closed pipe.
  output.CloseRead();
  errors.CloseRead();
  result.exit_code = WaitFor(pid);
  if (!collected.ok()) return Annotate(collected, program);
  return result;
}

absl::StatusOr<TemporaryFile> TemporaryFile::Create(const std::string& contents,
                                                    const std::string& suffix) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error)
    return absl::UnavailableError(absl::StrCat("no folder for temporary files: ", error.message()));
  std::string path = (folder / "trainctl-XXXXXX").string() + suffix;
  const int fd = mkostemps(path.data(), static_cast<int>(suffix.size()), O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  TemporaryFile file(path);
  size_t written = 0;
  while (written < contents.size()) {
    const ssize_t got = write(fd, contents.data() + written, contents.size() - written);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int failed = errno;
      close(fd);
      return ErrnoStatus(failed, path);
    }
    written += static_cast<size_t>(got);
  }
  close(fd);
  return file;
}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

}  // namespace trainerd::client
