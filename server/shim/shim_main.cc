// SPDX-License-Identifier: Apache-2.0
// trainerd-shim --attempt-dir DIR: supervises one attempt. The daemon starts it.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "server/shim/shim.h"

namespace {

constexpr char kUsage[] =
    "Usage: trainerd-shim --attempt-dir DIR\n"
    "Supervises one attempt of a job: starts the worker that DIR/spec.pb names, captures its log, "
    "answers requests at DIR/control.sock and writes DIR/exit.rec.\n"
    "trainerd starts it. On SIGTERM it requests a checkpoint from the worker and exits.\n"
    "  --attempt-dir DIR  attempt directory (absolute path)\n"
    "  --version          print the version and exit\n"
    "  --help             print this help and exit\n";

}  // namespace

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (argc == 2 && first == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc == 2 && first == "--version") {
    std::printf("trainerd-shim %s\n", TRAINERD_VERSION);
    return 0;
  }
  if (argc != 3 || first != "--attempt-dir" || argv[2][0] != '/') {
    std::fputs(kUsage, stderr);
    return 2;
  }
  umask(077);
  return trainerd::server::RunShim(argv[2]);
}
