// SPDX-License-Identifier: Apache-2.0
// Load on a real trainerd from outside, over its public API. Each command prints one JSON line;
// server_bench.py starts the daemon and collects the lines.
//
// server_load start   --program trainerd --state-dir DIR [--count 10]
//   starts and stops daemons: time from spawn to SERVING, resident memory when idle
// server_load submit  --socket PATH --model DIR --data FILE --names FILE [--threads 8]
//                     [--count 4000]
// server_load count   --socket PATH --names FILE
//   how many of the acknowledged jobs the daemon still has
// server_load pages   --socket PATH [--selector TEXT] [--state RUNNING] [--order TEXT]
//                     [--count 4000]
//   walks through the pages of ListJobs, from the first to the last job and again
// server_load metrics --socket PATH --job jobs/ID [--points 2000] [--count 50]
// server_load watch   --socket PATH --job jobs/ID [--watchers 200] [--seconds 10]
// server_load replay  --socket PATH --job jobs/ID --history jobs/ID [--watchers 200]
//                     [--replayers 20] [--seconds 60]
//   as watch, while other watchers replay the history of another job
// server_load idle    --socket PATH --pid PID [--watchers 200] [--seconds 5]
//   the cost of watchers without events
#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "trainerd/v1/trainer.grpc.pb.h"

extern char** environ;

namespace trainerd::bench {
namespace {

constexpr int kPageSize = 1000;
// The default of the API.
constexpr int kListedPageSize = 100;
constexpr double kStartPatienceSeconds = 30;
constexpr auto kPoll = std::chrono::microseconds(200);
constexpr auto kIdleTime = std::chrono::seconds(2);

struct Flags {
  std::string command, socket, program, state_dir, model, data, names, job, history;
  std::string selector, state, order;
  int threads = 8, count = 0, watchers = 200, replayers = 20, pid = 0, points = 2000;
  double seconds = 10;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double WallClock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "server_load: %s\n", why.c_str());
  std::exit(1);
}

// Nearest rank; sorts.
double Percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(share * static_cast<double>(values.size())))];
}

// A connection of its own: channels to one address otherwise share one.
std::shared_ptr<grpc::Channel> Connect(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
}

// ---------------------------------------------------------------- start
// A number of kB in /proc/PID/status.
double StatusMegabytes(int pid, const std::string& key) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key + ":", 0) == 0) return std::stod(line.substr(key.size() + 1)) / 1024;
  }
  return 0;
}

bool Accepts(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    Die("the socket's path is too long for this program: " + path);
  std::strcpy(address.sun_path, path.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return connected;
}

// grpc.health.v1.Health/Check of the whole server, as bytes: SERVING is field 1 = 1.
bool IsServing(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice slice;
  if (!status.ok() || !response.DumpToSingleSlice(&slice).ok()) return false;
  return slice.size() == 2 && slice.begin()[0] == 0x08 && slice.begin()[1] == 0x01;
}

pid_t Spawn(const Flags& flags) {
  std::vector<std::string> words = {flags.program, "--state-dir", flags.state_dir};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {1, 2})
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, flags.program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) Die(absl::StrCat("cannot start ", flags.program, ": ", std::strerror(error)));
  return pid;
}

int Start(const Flags& flags) {
  const std::string socket = flags.state_dir + "/trainerd.sock";
  std::vector<double> seconds, memory;
  for (int i = 0; i < flags.count; ++i) {
    const double begin = Now();
    const pid_t pid = Spawn(flags);
    while (!Accepts(socket)) {
      if (Now() - begin > kStartPatienceSeconds || ::waitpid(pid, nullptr, WNOHANG) == pid)
        Die("trainerd does not serve");
      std::this_thread::sleep_for(kPoll);
    }
    const std::shared_ptr<grpc::Channel> channel = Connect(socket);
    while (!IsServing(channel)) {
      if (Now() - begin > kStartPatienceSeconds) Die("the health service does not answer SERVING");
      std::this_thread::sleep_for(kPoll);
    }
    seconds.push_back(Now() - begin);
    // The last one is left alone for a while: what it then holds is its idle memory.
    if (i + 1 == flags.count) std::this_thread::sleep_for(kIdleTime);
    memory.push_back(StatusMegabytes(pid, "VmRSS"));
    ::kill(pid, SIGTERM);
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) Die("trainerd did not stop cleanly");
  }
  const double first = seconds.front(), half = Percentile(seconds, 0.5),
               slowest = Percentile(seconds, 1.0);
  std::printf(
      "{\"starts\":%d,\"serving_ms\":%.1f,\"slowest_ms\":%.1f,\"first_ms\":%.1f,\"idle_rss_mb\":%."
      "1f}\n",
      flags.count, 1e3 * half, 1e3 * slowest, 1e3 * first, memory.back());
  return 0;
}

// ---------------------------------------------------------------- submit, count
struct Submitted {
  std::vector<double> seconds;
  std::vector<std::string> names;
};

void SubmitSome(const Flags& flags, std::atomic<int>& next, Submitted& out) {
  const auto stub = v1::Trainer::NewStub(Connect(flags.socket));
  for (int i = next++; i < flags.count; i = next++) {
    v1::SubmitJobRequest request;
    request.set_request_id(absl::StrCat("server-load-", i));
    v1::JobConfig& config = *request.mutable_config();
    config.set_name(absl::StrCat("load-", i));
    (*config.mutable_labels())["number"] = absl::StrCat(i);
    config.mutable_model()->set_path(flags.model);
    config.mutable_data()->add_train()->set_path(flags.data);
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    const double begin = Now();
    const grpc::Status status = stub->SubmitJob(&context, request, &response);
    if (!status.ok()) Die("SubmitJob: " + status.error_message());
    out.seconds.push_back(Now() - begin);
    out.names.push_back(response.job().name());
  }
}

int Submit(const Flags& flags) {
  std::vector<Submitted> results(static_cast<size_t>(flags.threads));
  std::atomic<int> next{0};
  const double begin = Now();
  std::vector<std::thread> threads;
  for (Submitted& result : results) threads.emplace_back([&] { SubmitSome(flags, next, result); });
  for (std::thread& thread : threads) thread.join();
  const double elapsed = Now() - begin;
  std::vector<double> all;
  std::ofstream names(flags.names);
  for (const Submitted& result : results) {
    all.insert(all.end(), result.seconds.begin(), result.seconds.end());
    for (const std::string& name : result.names) names << name << '\n';
  }
  std::printf(
      "{\"clients\":%d,\"acknowledged\":%zu,\"per_second\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
      flags.threads, all.size(), static_cast<double>(all.size()) / elapsed,
      1e3 * Percentile(all, 0.5), 1e3 * Percentile(all, 0.99));
  return 0;
}

int Count(const Flags& flags) {
  const auto stub = v1::Trainer::NewStub(Connect(flags.socket));
  std::set<std::string> present;
  v1::ListJobsRequest request;
  request.set_page_size(kPageSize);
  do {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    v1::ListJobsResponse response;
    const grpc::Status status = stub->ListJobs(&context, request, &response);
    if (!status.ok()) Die("ListJobs: " + status.error_message());
    for (const v1::Job& job : response.jobs()) present.insert(job.name());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  std::ifstream names(flags.names);
  size_t acknowledged = 0, found = 0;
  for (std::string name; std::getline(names, name); ++acknowledged) found += present.count(name);
  std::printf("{\"acknowledged\":%zu,\"found\":%zu}\n", acknowledged, found);
  return acknowledged == found ? 0 : 1;
}

// ---------------------------------------------------------------- pages, metrics
void PrintLatencies(std::vector<double>& seconds, const std::string& more) {
  std::printf("{\"calls\":%zu,%s\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n", seconds.size(),
              more.c_str(), 1e3 * Percentile(seconds, 0.5), 1e3 * Percentile(seconds, 0.99),
              1e3 * Percentile(seconds, 1));
}

int Pages(const Flags& flags) {
  const auto stub = v1::Trainer::NewStub(Connect(flags.socket));
  v1::ListJobsRequest request;
  request.set_page_size(kListedPageSize);
  request.set_label_selector(flags.selector);
  request.set_order_by(flags.order);
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  if (!flags.state.empty() && v1::Job::State_Parse(flags.state, &state)) request.add_states(state);
  std::vector<double> seconds;
  size_t jobs = 0, round = 0;
  while (static_cast<int>(seconds.size()) < flags.count) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    v1::ListJobsResponse response;
    const double begin = Now();
    const grpc::Status status = stub->ListJobs(&context, request, &response);
    seconds.push_back(Now() - begin);
    if (!status.ok()) Die("ListJobs: " + status.error_message());
    round += response.jobs_size();
    request.set_page_token(response.next_page_token());
    if (!request.page_token().empty()) continue;
    jobs = std::max(jobs, round);
    round = 0;
  }
  PrintLatencies(seconds, absl::StrCat("\"jobs\":", std::max(jobs, round), ","));
  return 0;
}

int Metrics(const Flags& flags) {
  const auto stub = v1::Runs::NewStub(Connect(flags.socket));
  v1::QueryMetricsRequest request;
  request.set_name(flags.job);
  request.set_max_points(flags.points);
  std::vector<double> seconds;
  v1::QueryMetricsResponse response;
  for (int i = 0; i < flags.count; ++i) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const double begin = Now();
    const grpc::Status status = stub->QueryMetrics(&context, request, &response);
    seconds.push_back(Now() - begin);
    if (!status.ok()) Die("QueryMetrics: " + status.error_message());
  }
  const int points = response.series().empty() ? 0 : response.series(0).steps_size();
  PrintLatencies(seconds, absl::StrCat("\"metrics\":", response.series_size(), ",\"points\":",
                                       points, ",\"bucket_steps\":", response.bucket_steps(), ","));
  return 0;
}

// ---------------------------------------------------------------- watch, replay, idle
class Watcher : public grpc::ClientReadReactor<v1::StreamStatusResponse> {
 public:
  // Without `after`, from now on.
  Watcher(const std::string& socket, const std::string& parent, const std::string& after,
          const std::atomic<bool>& counting)
      : counting_(counting), stub_(v1::Trainer::NewStub(Connect(socket))) {
    request_.set_parent(parent);
    request_.set_after(after);
    request_.set_until_terminal(!after.empty());
    stub_->async()->StreamStatus(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double now = WallClock();
    received_ += response_.events_size();
    for (const v1::Event& event : response_.events()) {
      if (!event.has_metrics() || !counting_) continue;
      latency_.push_back(
          now - (static_cast<double>(event.time().seconds()) + 1e-9 * event.time().nanos()));
      const int64_t step = event.metrics().step();
      if (last_step_ != 0 && step != last_step_ + 1) ++gaps_;
      last_step_ = step;
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = !status.ok() && status.error_code() != grpc::StatusCode::CANCELLED;
    if (failed_) std::fprintf(stderr, "watcher: %s\n", status.error_message().c_str());
    done_ = true;
    condition_.notify_all();
  }

  void Cancel() { context_.TryCancel(); }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    condition_.wait(lock, [this] { return done_; });
  }

  int64_t received() const { return received_; }
  bool IsDone() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return done_;
  }
  // After Wait.
  const std::vector<double>& latency() const { return latency_; }
  int64_t gaps() const { return gaps_; }
  bool failed() const { return failed_; }

 private:
  const std::atomic<bool>& counting_;
  std::unique_ptr<v1::Trainer::Stub> stub_;
  grpc::ClientContext context_;
  v1::StreamStatusRequest request_;
  v1::StreamStatusResponse response_;
  std::vector<double> latency_;
  int64_t last_step_ = 0, gaps_ = 0;
  std::atomic<int64_t> received_{0};

  std::mutex mutex_;
  std::condition_variable condition_;
  bool done_ = false;    // guarded by mutex_
  bool failed_ = false;  // guarded by mutex_
};

using Watchers = std::vector<std::unique_ptr<Watcher>>;

Watchers Open(const Flags& flags, const std::string& parent, const std::atomic<bool>& counting) {
  Watchers watchers;
  for (int i = 0; i < flags.watchers; ++i) {
    watchers.push_back(std::make_unique<Watcher>(flags.socket, parent, "", counting));
  }
  return watchers;
}

// Ends the watchers and prints the fields of their latency, without the braces. False: a watcher
// failed or missed a step.
bool Report(const Flags& flags, double seconds, Watchers& watchers) {
  for (const auto& watcher : watchers) watcher->Cancel();
  std::vector<double> all;
  int64_t gaps = 0;
  size_t fewest = SIZE_MAX;
  bool failed = false;
  for (const auto& watcher : watchers) {
    watcher->Wait();
    all.insert(all.end(), watcher->latency().begin(), watcher->latency().end());
    fewest = std::min(fewest, watcher->latency().size());
    gaps += watcher->gaps();
    failed = failed || watcher->failed();
  }
  const double count = static_cast<double>(all.size());
  std::printf(
      "\"watchers\":%d,\"seconds\":%.1f,\"events_per_second_each\":%.1f,\"fewest_events\":%zu,"
      "\"gaps\":%lld,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f",
      flags.watchers, seconds, count / seconds / flags.watchers, fewest,
      static_cast<long long>(gaps), 1e3 * Percentile(all, 0.5), 1e3 * Percentile(all, 0.99),
      1e3 * Percentile(all, 1.0));
  return !failed && gaps == 0;
}

int Watch(const Flags& flags) {
  std::atomic<bool> counting{false};
  Watchers watchers = Open(flags, flags.job, counting);
  std::this_thread::sleep_for(kIdleTime);  // all are connected and have what was there
  counting = true;
  std::this_thread::sleep_for(std::chrono::duration<double>(flags.seconds));
  counting = false;
  std::printf("{");
  const bool good = Report(flags, flags.seconds, watchers);
  std::printf("}\n");
  return good ? 0 : 1;
}

// Measures the live watchers until all others have replayed the history, at most flags.seconds.
int Replay(const Flags& flags) {
  std::atomic<bool> counting{false};
  const std::atomic<bool> never{false};
  Watchers watchers = Open(flags, flags.job, counting);
  std::this_thread::sleep_for(kIdleTime);
  Watchers replayers;
  counting = true;
  const double begin = Now();
  for (int i = 0; i < flags.replayers; ++i) {
    replayers.push_back(std::make_unique<Watcher>(flags.socket, flags.history, "begin", never));
  }
  const auto done = [](const auto& replayer) { return replayer->IsDone(); };
  while (!std::all_of(replayers.begin(), replayers.end(), done) && Now() - begin < flags.seconds) {
    std::this_thread::sleep_for(kPoll);
  }
  const double seconds = Now() - begin;
  counting = false;
  int64_t replayed = 0, completed = 0;
  bool failed = false;
  for (const auto& replayer : replayers) {
    replayed += replayer->received();
    completed += replayer->IsDone();
    replayer->Cancel();
    replayer->Wait();
    failed = failed || replayer->failed();
  }
  std::printf(
      "{\"replayers\":%d,\"completed\":%lld,\"replayed_events\":%lld,"
      "\"replayed_per_second\":%.0f,",
      flags.replayers, static_cast<long long>(completed), static_cast<long long>(replayed),
      static_cast<double>(replayed) / seconds);
  const bool good = Report(flags, seconds, watchers);
  std::printf("}\n");
  return good && !failed ? 0 : 1;
}

// Processor seconds of a process so far.
double CpuSeconds(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  double user = 0, system = 0;
  if (std::sscanf(line.c_str() + line.rfind(')') + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf", &user, &system) != 2)
    Die("no process to look at");
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int Idle(const Flags& flags) {
  const std::atomic<bool> counting{false};
  const double before = StatusMegabytes(flags.pid, "VmRSS");
  const Watchers watchers = Open(flags, "jobs/-", counting);
  std::this_thread::sleep_for(kIdleTime);
  const double after = StatusMegabytes(flags.pid, "VmRSS"), cpu = CpuSeconds(flags.pid);
  std::this_thread::sleep_for(std::chrono::duration<double>(flags.seconds));
  const double cpu_used = CpuSeconds(flags.pid) - cpu;
  bool failed = false;
  for (const auto& watcher : watchers) watcher->Cancel();
  for (const auto& watcher : watchers) {
    watcher->Wait();
    failed = failed || watcher->failed();
  }
  std::printf("{\"watchers\":%d,\"kb_each\":%.1f,\"cpu_share\":%.4f}\n", flags.watchers,
              1024 * (after - before) / flags.watchers, cpu_used / flags.seconds);
  return failed ? 1 : 0;
}

bool Parse(int argc, char** argv, Flags& flags) {
  if (argc < 2 || argc % 2 != 0) return false;
  flags.command = argv[1];
  flags.count = flags.command == "start" ? 10 : 4000;
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--socket")
      flags.socket = value;
    else if (name == "--program")
      flags.program = value;
    else if (name == "--state-dir")
      flags.state_dir = value;
    else if (name == "--model")
      flags.model = value;
    else if (name == "--data")
      flags.data = value;
    else if (name == "--names")
      flags.names = value;
    else if (name == "--job")
      flags.job = value;
    else if (name == "--history")
      flags.history = value;
    else if (name == "--selector")
      flags.selector = value;
    else if (name == "--state")
      flags.state = value;
    else if (name == "--order")
      flags.order = value;
    else if (name == "--points")
      flags.points = std::atoi(value);
    else if (name == "--replayers")
      flags.replayers = std::atoi(value);
    else if (name == "--threads")
      flags.threads = std::atoi(value);
    else if (name == "--count")
      flags.count = std::atoi(value);
    else if (name == "--watchers")
      flags.watchers = std::atoi(value);
    else if (name == "--pid")
      flags.pid = std::atoi(value);
    else if (name == "--seconds")
      flags.seconds = std::atof(value);
    else
      return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  Flags flags;
  const bool parsed = Parse(argc, argv, flags);
  if (parsed && flags.command == "start") return Start(flags);
  if (parsed && flags.command == "submit") return Submit(flags);
  if (parsed && flags.command == "count") return Count(flags);
  if (parsed && flags.command == "metrics") return Metrics(flags);
  if (parsed && flags.command == "pages") return Pages(flags);
  if (parsed && flags.command == "watch") return Watch(flags);
  if (parsed && flags.command == "replay") return Replay(flags);
  if (parsed && flags.command == "idle") return Idle(flags);
  std::fprintf(stderr, "usage: see the head of server_load.cc\n");
  return 2;
}

}  // namespace
}  // namespace trainerd::bench

int main(int argc, char** argv) { return trainerd::bench::Main(argc, argv); }
