// SPDX-License-Identifier: Apache-2.0
// trainerd: the daemon's command line. Reads the settings, starts the server, waits for SIGTERM or
// SIGINT, drains. SIGHUP opens the log file again. Exit code 0 only after a clean stop.
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job/state_dir.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "server/host/log_file.h"
#include "server/host/service_manager.h"
#include "server/server.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

struct Flags {
  std::string config;
  std::string state_dir;
  std::vector<std::string> listen;
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string ProgramFolder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : self.parent_path().string();
}

std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

// Makes the PATH of unix:PATH absolute against `folder`, as the other paths are.
void MakeListenAbsolute(const std::filesystem::path& folder, v1::ServerConfig* config) {
  for (std::string& listen : *config->mutable_listen()) {
    const absl::string_view path = absl::StripPrefix(listen, "unix:");
    if (path.size() == listen.size() || path.empty()) continue;
    listen = absl::StrCat("unix:", (folder / std::string(path)).lexically_normal().string());
  }
}

absl::StatusOr<v1::ServerConfig> LoadConfig(const Flags& flags) {
  v1::ServerConfig config;
  std::vector<ConfigViolation> violations;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(const std::string yaml, ReadStream(flags.config));
    YamlResult result = YamlToMessage(yaml, &config);
    violations = result.violations;
    const std::filesystem::path folder =
        std::filesystem::path(Absolute(flags.config)).parent_path();
    MakePathsAbsolute(folder, &config);
    MakeListenAbsolute(folder, &config);
    v1::ServerConfig resolved = ResolveServerConfig(config, &violations);
    AttachLines(result.lines, &violations);
    RETURN_IF_ERROR(ViolationsToStatus(violations, flags.config));
    config = resolved;
  } else {
    config = ResolveServerConfig(config, &violations);
    RETURN_IF_ERROR(ViolationsToStatus(violations));
  }
  if (!flags.state_dir.empty()) config.set_state_dir(flags.state_dir);
  if (config.state_dir().empty())
    config.set_state_dir(DefaultStateDir(Environment("XDG_STATE_HOME"), Environment("HOME")));
  config.set_state_dir(Absolute(config.state_dir()));
  if (!flags.listen.empty()) {
    config.mutable_listen()->Assign(flags.listen.begin(), flags.listen.end());
    MakeListenAbsolute(Absolute("."), &config);
  }
  const std::string folder = ProgramFolder();
  if (config.worker_path().empty()) config.set_worker_path(folder + "/trainerd-worker");
  if (config.shim_path().empty()) config.set_shim_path(folder + "/trainerd-shim");
  if (config.inspect_path().empty()) config.set_inspect_path(folder + "/trainerd-inspect");
  return config;
}

int Fail(const absl::Status& status) {
  const char* advice = "";
  if (absl::IsResourceExhausted(status)) {
    advice = "; free some space, or use another state directory with --state-dir";
  } else if (absl::IsPermissionDenied(status)) {
    advice = "; use a state directory that you can write to with --state-dir";
  }
  std::fprintf(stderr, "trainerd: %s%s\n", std::string(status.message()).c_str(), advice);
  return 1;
}

// Each watcher is a file descriptor, so the limit is raised to the maximum.
void RaiseFileLimit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Memory of large messages returns to the system when they are freed: it is mapped, and few arenas
// hold the rest. By default glibc raises its threshold with each large message, and each of the
// threads of gRPC keeps what it has freed.
void ReturnFreedMemory() {
  ::mallopt(M_ARENA_MAX, 4);
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

spdlog::level::level_enum LogLevelOf(v1::ServerConfig::LogLevel level) {
  switch (level) {
    case v1::ServerConfig::LOG_LEVEL_TRACE:
      return spdlog::level::trace;
    case v1::ServerConfig::LOG_LEVEL_DEBUG:
      return spdlog::level::debug;
    case v1::ServerConfig::LOG_LEVEL_INFO:
      return spdlog::level::info;
    case v1::ServerConfig::LOG_LEVEL_WARNING:
      return spdlog::level::warn;
    case v1::ServerConfig::LOG_LEVEL_ERROR:
      return spdlog::level::err;
    case v1::ServerConfig::LOG_LEVEL_UNSPECIFIED:
    case kMinSentinel<v1::ServerConfig::LogLevel>:
    case kMaxSentinel<v1::ServerConfig::LogLevel>:
      break;
  }
  return spdlog::level::info;
}

// Logs to the file of the settings, or to standard error. The sink is null without a file.
absl::StatusOr<std::shared_ptr<LogFileSink>> StartLog(const v1::ServerConfig& config) {
  std::shared_ptr<LogFileSink> sink;
  if (config.has_log_file()) {
    // The state directory is created later, by whoever locks it.
    if (ParentOf(config.log_file()) == config.state_dir())
      RETURN_IF_ERROR(MakeDirectories(config.state_dir(), 0700));
    ASSIGN_OR_RETURN(std::unique_ptr<LogFile> file, LogFile::Open(config.log_file()));
    sink = std::make_shared<LogFileSink>(std::move(file));
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("trainerd", sink));
  } else {
    spdlog::set_default_logger(spdlog::stderr_color_mt("trainerd"));
  }
  spdlog::set_level(LogLevelOf(config.log_level()));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  return sink;
}

// SIGHUP: another program has renamed the log file.
void ReopenLog(LogFileSink* sink) {
  if (sink == nullptr) return spdlog::info("SIGHUP: there is no log_file to open again");
  const absl::Status reopened = sink->Reopen();
  if (!reopened.ok()) return spdlog::error("SIGHUP: {}", std::string(reopened.message()));
  spdlog::info("SIGHUP: the log file is open again pid={}", ::getpid());
}

// Of the service manager that started the daemon. Its children do not report to it.
ServiceManager::Options ServiceManagerOf() {
  ServiceManager::Options options{
      .socket = Environment("NOTIFY_SOCKET"),
      .watchdog =
          WatchdogTime(Environment("WATCHDOG_USEC"), Environment("WATCHDOG_PID"), ::getpid())};
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  return options;
}

// Returns the signal that ends the daemon.
int WaitForEnd(const sigset_t& signals, LogFileSink* log) {
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) return signal;
    ReopenLog(log);
  }
}

int Run(const Flags& flags) {
  // Only the owner can access what the daemon creates, but for output.path.
  const mode_t user_umask = ::umask(077);
  // Blocked in all threads; the main thread receives them with sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // Of a lease that the inbox holds for a moment.
  ::signal(SIGIO, SIG_IGN);
  RaiseFileLimit();
  ReturnFreedMemory();
  ServiceManager::Options service_options = ServiceManagerOf();

  absl::StatusOr<v1::ServerConfig> config = LoadConfig(flags);
  if (!config.ok()) return Fail(config.status());
  const absl::StatusOr<std::shared_ptr<LogFileSink>> log = StartLog(*config);
  if (!log.ok()) return Fail(log.status());

  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start({.config = *config,
                     .version = TRAINERD_VERSION,
                     .output_umask = user_umask,
                     .notify_program = ProgramFolder() + "/trainerd-notify"});
  if (!server.ok()) return Fail(server.status());
  spdlog::info("serving address={} state_dir={} pid={}", absl::StrJoin((*server)->addresses(), ","),
               config->state_dir(), ::getpid());
  service_options.rounds = [&] { return (*server)->rounds(); };
  service_options.poke = [&] { (*server)->Poke(); };
  service_options.status = [&] { return (*server)->StatusLine(); };
  ServiceManager service_manager(std::move(service_options));
  service_manager.Ready();
  const int signal = WaitForEnd(signals, log->get());
  service_manager.Stopping();
  spdlog::info("signal={} draining; running attempts continue under their shims", signal);
  server->reset();
  spdlog::info("stopped");
  spdlog::shutdown();
  // Threads of the gRPC library still run: no static object is destroyed under them.
  ::_exit(0);
}

}  // namespace
}  // namespace trainerd::server

int main(int argc, char** argv) {
  CLI::App app{
      "trainerd: fine-tunes language models, one job per device, controlled over gRPC (trainctl)."};
  trainerd::server::Flags flags;
  app.add_option("--config", flags.config, "Settings file (YAML); flags override it")
      ->check(CLI::ExistingFile);
  app.add_option("--state-dir", flags.state_dir,
                 "State directory of this daemon (default: $XDG_STATE_HOME/trainerd or "
                 "~/.local/state/trainerd)");
  app.add_option("--listen", flags.listen,
                 "unix (a socket in the state directory, the default), unix:PATH, 127.0.0.1:PORT, "
                 "[::1]:PORT or tls:HOST:PORT; may be given several times")
      ->allow_extra_args(false);
  app.set_version_flag("--version", "trainerd " TRAINERD_VERSION);
  CLI11_PARSE(app, argc, argv);
  return trainerd::server::Run(flags);
}
