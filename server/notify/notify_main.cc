// SPDX-License-Identifier: Apache-2.0
// trainerd-notify: delivers notifications for the daemon, which starts it. It alone links libcurl.
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "server/notify/deliveries.h"
#include "server/notify/local_command.h"
#include "server/notify/webhook.h"

namespace {

constexpr char kUsage[] =
    "Usage: trainerd-notify\n"
    "Delivers notifications: posts webhooks and runs local commands. trainerd starts it, with a "
    "socket as its standard input, and decides what is delivered and when.\n"
    "  --version          print the version and exit\n"
    "  --help             print this help and exit\n";

// The daemon has ended, or ends this process.
void EndWithCommands(int) {
  trainerd::server::KillLocalCommands();
  _exit(0);
}

bool IsSocket(int fd) {
  struct stat file;
  return ::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (argc == 2 && first == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc == 2 && first == "--version") {
    std::printf("trainerd-notify %s\n", TRAINERD_VERSION);
    return 0;
  }
  if (argc != 1 || !IsSocket(STDIN_FILENO)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  umask(077);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTERM, EndWithCommands);
  trainerd::server::InitWebhooks();
  const int code = trainerd::server::RunDeliveries(STDIN_FILENO, trainerd::server::Deliver);
  // Deliveries in progress end here; the daemon repeats them.
  trainerd::server::KillLocalCommands();
  _exit(code);
}
