// SPDX-License-Identifier: Apache-2.0
// trainctl doctor: checks this machine and the daemon, and prints what to do. Exit code 1 if there
// is a problem.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/commands/commands.h"
#include "client/commands/common/job_pages.h"
#include "client/doctor/checks.h"
#include "client/doctor/facts.h"
#include "nlohmann/json.hpp"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/plain_text.h"
#include "proto/base/process/process.h"
#include "proto/base/time.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::client {
namespace {

using Level = Finding::Level;

// The worker opens the devices, which takes seconds the first time.
constexpr absl::Duration kWorkerTime = absl::Seconds(30);
constexpr absl::Duration kDaemonTime = absl::Seconds(3);
constexpr size_t kErrorBytes = 300;
constexpr const char* kPrograms[] = {"trainerd", "trainerd-shim", "trainerd-worker",
                                     "trainerd-inspect", "trainerd-notify"};

class Doctor {
 public:
  explicit Doctor(const Context& context) : context_(context) {}

  std::vector<Finding> Examine() {
    Connect();
    const std::string state_dir = StateDir();
    if (connection_ != nullptr) Add(CheckDaemon(Info(), TRAINERD_VERSION, process_));
    if (IsLocal()) {
      CheckPrograms();
      ExamineStateDir(state_dir);
    }
    CheckMachineDevices();
    if (IsLocal()) {
      ExamineDisks(state_dir);
      Add(CheckClock(ReadClock(), process_,
                     connection_ == nullptr ? absl::UnixEpoch() : FromProto(Info().start_time())));
      Add(CheckLimits(ReadInotify(), process_));
    }
    return std::move(findings_);
  }

 private:
  void Add(std::vector<Finding> findings) {
    for (Finding& finding : findings) findings_.push_back(std::move(finding));
  }
  const v1::ServerInfo& Info() const { return connection_->server_info(); }
  // Whether the files and processes of the daemon are on this machine.
  bool IsLocal() const {
    return connection_ == nullptr || process_.has_value() ||
           !connection_->address().socket_path.empty();
  }

  void Connect() {
    const absl::StatusOr<Address> address = ResolveAddress(context_.address, context_.env);
    absl::Status status = address.status();
    if (address.ok()) {
      address_ = *address;
      // A daemon that hangs must not make the doctor wait as long as a command does.
      v1::ServerInfo unused;
      status =
          Connection::CallOnceWithin(kDaemonTime, *address, v1::GetServerInfoRequest(), &unused);
      if (absl::IsUnavailable(status))
        status = absl::UnavailableError(NoDaemonMessage(*address, std::string(status.message())));
      if (!absl::IsUnavailable(status)) {
        absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::OpenAny(*address);
        status = connection.status();
        if (connection.ok()) connection_ = *std::move(connection);
      }
    }
    if (connection_ == nullptr) {
      const bool absent = absl::IsUnavailable(status);
      findings_.push_back({.check = "daemon",
                           .level = absent ? Level::kNote : Level::kProblem,
                           .message = std::string(status.message()),
                           .action = absent ? "start it, or name its address with --address"
                                            : "correct --address, --token-file or the token"});
      return;
    }
    process_ = ReadDaemonProcess(Info().pid());
    findings_.push_back({.check = "daemon",
                         .message = absl::StrCat("a daemon (pid ", Info().pid(), ") answers at ",
                                                 address_.display)});
  }

  std::string StateDir() const {
    if (connection_ != nullptr && !Info().state_dir().empty()) return Info().state_dir();
    if (absl::EndsWith(address_.socket_path, absl::StrCat("/", kSocketName)))
      return ParentOf(address_.socket_path);
    return context_.env.state_dir;
  }

  void ExamineStateDir(const std::string& path) {
    StateDirFacts facts{.path = path,
                        .folder = ReadPath(path),
                        .socket = ReadPath(absl::StrCat(path, "/", kSocketName)),
                        .token = ReadPath(absl::StrCat(path, "/", kTokenName)),
                        .database = ReadPath(path + "/trainerd.db"),
                        .lock_holder = ReadLockHolder(path),
                        .daemon_answers = connection_ != nullptr,
                        .user = ::geteuid()};
    const std::optional<ProcessFacts> holder = ReadDaemonProcess(facts.lock_holder);
    facts.holder_runs = holder.has_value();
    // A daemon that runs as another user than this one.
    if (holder.has_value()) facts.user = ReadPath(absl::StrCat("/proc/", holder->pid)).owner;
    Add(CheckStateDir(facts));
  }

  std::string ProgramsFolder() const {
    return process_.has_value() && !process_->program.empty() ? ParentOf(process_->program)
                                                              : context_.env.programs_dir;
  }

  void CheckPrograms() {
    const std::string folder = ProgramsFolder();
    std::vector<std::string> missing;
    for (const char* name : kPrograms) {
      if (::access(absl::StrCat(folder, "/", name).c_str(), X_OK) != 0) missing.push_back(name);
    }
    if (missing.empty())
      return findings_.push_back(
          {.check = "programs", .message = absl::StrCat("all programs are in ", folder)});
    const bool client_only = !process_.has_value() && missing.front() == std::string("trainerd");
    if (client_only) {
      return findings_.push_back(
          {.check = "programs",
           .level = Level::kNote,
           .message = absl::StrCat("trainerd is not in ", folder),
           .action = "nothing on a machine that calls a daemon elsewhere; otherwise install it"});
    }
    findings_.push_back(
        {.check = "programs",
         .level = Level::kProblem,
         .message = absl::StrCat(absl::StrJoin(missing, ", "), missing.size() == 1 ? " is" : " are",
                                 " not in ", folder, " or not executable"),
         .action = "install the package that has them, or set worker_path, shim_path and "
                   "inspect_path in trainerd.yaml"});
  }

  void CheckMachineDevices() {
    if (connection_ != nullptr && !Info().devices().empty())
      Add(CheckDevices({Info().devices().begin(), Info().devices().end()}));
    if (!IsLocal()) return;
    const std::string worker = ProgramsFolder() + "/trainerd-worker";
    if (::access(worker.c_str(), X_OK) != 0) return;
    const absl::StatusOr<std::string> version = Run({worker, "--version"});
    if (!version.ok()) return AddWorkerProblem(version.status());
    findings_.push_back(
        {.check = "versions",
         .message = absl::StrCat("trainerd-worker ", absl::StripAsciiWhitespace(*version))});
    if (connection_ != nullptr) return;
    const absl::StatusOr<std::string> json = Run({worker, "devices"});
    v1::ServerInfo devices;
    const absl::Status read = json.ok() ? JsonToMessage(*json, &devices) : json.status();
    if (!read.ok()) return AddWorkerProblem(read);
    Add(CheckDevices({devices.devices().begin(), devices.devices().end()}));
  }

  void AddWorkerProblem(const absl::Status& status) {
    findings_.push_back({.check = "worker",
                         .level = Level::kProblem,
                         .message = std::string(status.message()),
                         .action = "install the libraries that it needs (README.md, Install)"});
  }

  static absl::StatusOr<std::string> Run(const std::vector<std::string>& argv) {
    const absl::StatusOr<ProcessResult> result = RunProcess({.argv = argv, .timeout = kWorkerTime});
    if (!result.ok()) return result.status();
    if (result->exit.code == 0) return result->out;
    return absl::InternalError(absl::StrCat(absl::StrJoin(argv, " "), " ended with ",
                                            result->exit.ToString(), ": ",
                                            result->err.substr(0, kErrorBytes)));
  }

  // The state directory, and where the jobs that have not ended write.
  void ExamineDisks(const std::string& state_dir) {
    std::vector<std::pair<std::string, std::string>> paths = {{state_dir, "the state directory"}};
    if (connection_ != nullptr && Info().api_revision() >= kApiRevision) {
      v1::ListJobsRequest request;
      for (const v1::Job::State state : {v1::Job::QUEUED, v1::Job::STARTING, v1::Job::RUNNING,
                                         v1::Job::PAUSING, v1::Job::PAUSED, v1::Job::STOPPING})
        request.add_states(state);
      const absl::StatusOr<v1::ListJobsResponse> jobs =
          ListAllJobs(*connection_, request, /*limit=*/1000);
      const v1::ListJobsResponse found = jobs.ok() ? *jobs : v1::ListJobsResponse();
      for (const v1::Job& job : found.jobs()) {
        paths.emplace_back(job.run_dir(), absl::StrCat("checkpoints of ", job.name()));
        paths.emplace_back(job.config().output().path(), absl::StrCat("output of ", job.name()));
      }
    }
    std::vector<std::string> checked;
    for (const auto& [path, holds] : paths) {
      const auto same = [&, path = path](const std::string& other) {
        return AreOnSameFileSystem(path, other);
      };
      if (path.empty() || std::any_of(checked.begin(), checked.end(), same)) continue;
      checked.push_back(path);
      findings_.push_back(CheckDisk(ReadDisk(path, holds)));
    }
  }

  const Context& context_;
  Address address_;
  std::unique_ptr<Connection> connection_;
  std::optional<ProcessFacts> process_;
  std::vector<Finding> findings_;
};

void PrintFindings(const std::vector<Finding>& findings, const Context& context) {
  for (const Finding& finding : findings) {
    context.out() << LevelName(finding.level) << "  " << finding.check << ": "
                  << PlainText(finding.message) << "\n";
    if (!finding.action.empty()) context.out() << "    " << PlainText(finding.action) << "\n";
  }
  context.out().flush();
}

nlohmann::ordered_json ToJson(const Finding& finding) {
  nlohmann::ordered_json json = {
      {"check", finding.check}, {"level", LevelName(finding.level)}, {"message", finding.message}};
  if (!finding.action.empty()) json["action"] = finding.action;
  return json;
}

void PrintDocument(const std::vector<Finding>& findings, bool ok, const Context& context) {
  const auto dump = [&](const nlohmann::ordered_json& json, int indent) {
    context.out() << json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                  << "\n";
  };
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    if (context.form == OutputForm::kJsonl) {
      dump(ToJson(finding), -1);
    } else {
      all.push_back(ToJson(finding));
    }
  }
  // JSON is YAML too.
  if (context.form != OutputForm::kJsonl) dump({{"ok", ok}, {"findings", all}}, 1);
  context.out().flush();
}

}  // namespace

int RunDoctor(const Context& context) {
  const std::vector<Finding> findings = Doctor(context).Examine();
  const bool ok = std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.level == Level::kProblem;
  });
  if (IsForPeople(context.form)) {
    PrintFindings(findings, context);
  } else {
    PrintDocument(findings, ok, context);
  }
  return ok ? kDone : kProblemFound;
}

}  // namespace trainerd::client
