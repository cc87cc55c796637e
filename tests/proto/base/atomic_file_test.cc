// SPDX-License-Identifier: Apache-2.0
// Expectations: after a success only the new file is there, after a failure only the old one. Root
// ignores modes, so refusals come from /proc, from parents that are files, and from RLIMIT_FSIZE
// (EFBIG), which fails in write(2) where a full disk does.
#include "proto/base/atomic_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

TEST(AtomicFileTest, WritesAndReplacesWithoutOtherFiles) {
  TempDir dir;
  const std::string path = dir / "state.json";
  ASSERT_TRUE(WriteFileAtomic(path, "old").ok());
  ASSERT_TRUE(WriteFileAtomic(path, std::string("new\0text", 8)).ok());
  EXPECT_EQ(*ReadFile(path), std::string("new\0text", 8));
  EXPECT_EQ(NamesIn(dir.path()), std::vector<std::string>{"state.json"});
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(AtomicFileTest, SetsRequestedMode) {
  TempDir dir;
  const mode_t before = umask(022);
  ASSERT_TRUE(WriteFileAtomic(dir / "f", "x", 0664).ok());
  umask(before);
  struct stat info;
  ASSERT_EQ(stat((dir / "f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
}

TEST(AtomicFileTest, KeepsTargetWhenRenameFails) {
  TempDir dir;
  fs::create_directories(dir / "taken/inner");
  const absl::Status status = WriteFileAtomic(dir / "taken", "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("taken"), absl::string_view::npos);
  EXPECT_TRUE(fs::is_directory(dir / "taken/inner"));
  EXPECT_EQ(NamesIn(dir.path()), std::vector<std::string>{"taken"});
}

TEST(AtomicFileTest, ReportsUnusableParent) {
  TempDir dir;
  EXPECT_EQ(WriteFileAtomic(dir / "no/f", "x").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(dir / "file", "x").ok());
  EXPECT_EQ(WriteFileAtomic(dir / "file/f", "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(WriteFileAtomic("/proc/trainerd", "x").ok());
  EXPECT_EQ(WriteFileAtomic(dir / "folder/", "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteFileAtomic("", "x").code(), absl::StatusCode::kInvalidArgument);
}

TEST(AtomicFileTest, KeepsOldFileWhenWriteFails) {
  TempDir dir;
  const std::string path = dir / "f";
  ASSERT_TRUE(WriteFileAtomic(path, "old").ok());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1000, before.rlim_max};
  auto* const handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteFileAtomic(path, std::string(5000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(*ReadFile(path), "old");
  EXPECT_EQ(NamesIn(dir.path()), std::vector<std::string>{"f"});
}

TEST(AtomicFileTest, KeepsOldFileOnFullDisk) {
  TempDir dir;
  if (mount("trainerd-test", dir.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=64k") != 0) {
    GTEST_SKIP() << "a small tmpfs cannot be mounted here (it needs root)";
  }
  const std::string path = dir / "f";
  EXPECT_TRUE(WriteFileAtomic(path, "old").ok());
  const absl::Status status = WriteFileAtomic(path, std::string(1 << 20, 'x'));
  const absl::StatusOr<std::string> kept = ReadFile(path);
  const std::vector<std::string> names = NamesIn(dir.path());
  ASSERT_EQ(umount(dir.path().c_str()), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(*kept, "old");
  EXPECT_EQ(names, std::vector<std::string>{"f"});
}

TEST(AtomicFileTest, WritesFileWithLongestName) {
  TempDir dir;
  const std::string path = dir / std::string(255, 'n');
  ASSERT_TRUE(WriteFileAtomic(path, "x").ok());
  EXPECT_EQ(*ReadFile(path), "x");
}

TEST(AtomicFileTest, ShowsReadersOnlyCompleteContents) {
  TempDir dir;
  const std::string path = dir / "f";
  const std::string a(20000, 'a'), b(30000, 'b');
  ASSERT_TRUE(WriteFileAtomic(path, a).ok());
  std::thread writer([&] {
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(WriteFileAtomic(path, i % 2 == 0 ? b : a).ok());
  });
  for (int i = 0; i < 200; ++i) {
    const absl::StatusOr<std::string> contents = ReadFile(path);
    ASSERT_TRUE(contents.ok());
    EXPECT_TRUE(*contents == a || *contents == b);
  }
  writer.join();
  EXPECT_EQ(NamesIn(dir.path()).size(), 1u);
}

TEST(ReadFileTest, ReadsKernelFilesAndReportsMissing) {
  TempDir dir;
  const absl::Status absent = ReadFile(dir / "none").status();
  EXPECT_TRUE(absl::IsNotFound(absent));
  EXPECT_NE(absent.message().find(dir / "none"), absl::string_view::npos);
  EXPECT_EQ(ReadFile(dir.path()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_GT(ReadFile("/proc/self/stat")->size(), 10u);
}

TEST(RenameDurableTest, MovesBetweenDirectories) {
  TempDir dir;
  fs::create_directories(dir / "a");
  fs::create_directories(dir / "b");
  ASSERT_TRUE(WriteFileAtomic(dir / "a/f", "x").ok());
  ASSERT_TRUE(RenameDurable(dir / "a/f", dir / "b/g").ok());
  EXPECT_FALSE(fs::exists(dir / "a/f"));
  EXPECT_EQ(*ReadFile(dir / "b/g"), "x");
  EXPECT_TRUE(absl::IsNotFound(RenameDurable(dir / "a/f", dir / "b/g")));
  ASSERT_TRUE(FsyncPath(dir / "b").ok());
  ASSERT_TRUE(FsyncPath(dir / "b/g").ok());
  EXPECT_TRUE(absl::IsNotFound(FsyncPath(dir / "none")));
}

TEST(ErrnoStatusTest, MapsErrnoToCode) {
  EXPECT_EQ(ErrnoStatus(ENOSPC, "write /x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(EDQUOT, "").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(EACCES, "").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ErrnoStatus(EROFS, "").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ErrnoStatus(ENOENT, "").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoStatus(EEXIST, "").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrnoStatus(EIO, "").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ErrnoStatus(ENOSPC, "write /x").message(), "write /x: No space left on device");
}

// Each would block, or act on a device, if it were opened and read like a file.
TEST(AtomicFileTest, ReadsRegularFilesOnly) {
  TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  const int server = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", (dir / "socket").c_str());
  ASSERT_EQ(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  for (const auto& [name, target] :
       std::vector<std::pair<std::string, std::string>>{{"to_pipe", "pipe"},
                                                        {"to_socket", "socket"},
                                                        {"to_device", "/dev/zero"},
                                                        {"to_folder", "."},
                                                        {"to_link", "to_pipe"}}) {
    ASSERT_EQ(symlink(target.c_str(), (dir / name).c_str()), 0);
  }
  for (const auto& [path, kind] :
       std::vector<std::pair<std::string, std::string>>{{dir / "pipe", "a pipe"},
                                                        {dir / "to_pipe", "a pipe"},
                                                        {dir / "to_link", "a pipe"},
                                                        {dir / "socket", "a socket"},
                                                        {dir / "to_socket", "a socket"},
                                                        {"/dev/zero", "a device"},
                                                        {dir / "to_device", "a device"},
                                                        {"/dev/null", "a device"},
                                                        {dir.path(), "a folder"},
                                                        {dir / "to_folder", "a folder"}}) {
    const absl::Status status = ReadFile(path).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << path << ": " << status;
    EXPECT_NE(status.message().find("it is " + kind), absl::string_view::npos) << status;
  }
  close(server);
  dir.Write("file", "text");
  ASSERT_EQ(symlink("file", (dir / "to_file").c_str()), 0);
  EXPECT_EQ(ReadFile(dir / "to_file").value(), "text");
  EXPECT_TRUE(absl::IsNotFound(ReadFile(dir / "none").status()));
  EXPECT_NE(ReadFile("/proc/self/stat").value(), "");
}

TEST(AtomicFileTest, ReadStreamWaitsForPipe) {
  TempDir dir;
  const std::string pipe = dir / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "text"; });
  EXPECT_EQ(ReadStream(pipe).value(), "text");
  writer.join();
}

}  // namespace
}  // namespace trainerd
