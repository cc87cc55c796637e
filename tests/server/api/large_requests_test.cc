// SPDX-License-Identifier: Apache-2.0
// The real daemon and default gRPC clients, which receive at most 4 MiB a message: sizes are
// bounded both ways, and the daemon's memory returns after a burst of the largest requests.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/contract/config/rules/config_limits.h"
#include "tests/paths.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr int kConcurrent = 60;
constexpr int64_t kReturnsTo = 50 << 20;

bool WaitFor(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

class LargeRequestsTest : public ::testing::Test {
 protected:
  LargeRequestsTest() {
    std::filesystem::create_directories(dir_ / "model");
    // Without a worker, jobs stay in the queue.
    const std::string settings = dir_.Write(
        "trainerd.yaml",
        absl::StrCat("state_dir: ", dir_ / "state", "\nworker_path: ", dir_ / "no-worker", "\n"));
    pid_ = fork();
    if (pid_ == 0) {
      const int log = open((dir_ / "log").c_str(), O_WRONLY | O_CREAT, 0600);
      dup2(log, STDERR_FILENO);
      const std::string program = TRAINERD_BIN_DIR + "/trainerd";
      execl(program.c_str(), program.c_str(), "--config", settings.c_str(), nullptr);
      _exit(127);
    }
    EXPECT_TRUE(WaitFor([&] { return std::filesystem::exists(dir_ / "state/trainerd.sock"); }));
    Connect();
  }
  ~LargeRequestsTest() override {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  std::unique_ptr<v1::Trainer::Stub> NewStub() {
    grpc::ChannelArguments arguments;
    // A connection of its own, as a client of its own has it.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::Trainer::NewStub(grpc::CreateCustomChannel(
        "unix:" + (dir_ / "state/trainerd.sock"), grpc::InsecureChannelCredentials(), arguments));
  }
  void Connect() {
    trainer_ = NewStub();
    ASSERT_TRUE(WaitFor([&] {
      grpc::ClientContext context;
      v1::ListJobsResponse response;
      return trainer_->ListJobs(&context, {}, &response).ok();
    }));
  }
  // A legal job of nearly 1 MiB: many training files with long names.
  v1::SubmitJobRequest LargestJob() {
    v1::SubmitJobRequest request;
    v1::JobConfig& config = *request.mutable_config();
    config.mutable_model()->set_path(dir_ / "model");
    config.mutable_data()->set_system_prompt(std::string(65536, 'p'));
    const std::string folder =
        dir_ /
        absl::StrCat(std::string(200, 'a'), "/", std::string(200, 'b'), "/", std::string(200, 'c'));
    std::filesystem::create_directories(folder);
    while (true) {
      const std::string file =
          absl::StrCat(folder, "/", std::string(200, 'd'), config.data().train_size(), ".jsonl");
      // Defaults and weights have their share.
      if (config.ByteSizeLong() + file.size() + 20'000 > kMaxConfigBytes) return request;
      if (config.data().train_size() == 1000) return request;
      std::ofstream(file) << "{}\n";
      config.mutable_data()->add_train()->set_path(file);
    }
  }
  int64_t ResidentBytes() {
    std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
    int64_t size = 0, resident = 0;
    file >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE);
  }
  // Runs `call` in 60 clients at once.
  void Burst(const std::function<void(v1::Trainer::Stub&, int)>& call) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kConcurrent; ++i) {
      threads.emplace_back([&, i] {
        auto stub = NewStub();
        call(*stub, i);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  TempDir dir_;
  pid_t pid_ = 0;
  std::unique_ptr<v1::Trainer::Stub> trainer_;
};

TEST_F(LargeRequestsTest, DefaultClientReadsBackLargestJobs) {
  constexpr int kJobs = 12;
  const v1::SubmitJobRequest largest = LargestJob();
  ASSERT_GT(largest.ByteSizeLong(), kMaxConfigBytes * 8 / 10);
  for (int i = 0; i < kJobs; ++i) {
    v1::SubmitJobRequest request = largest;
    request.set_job_id(absl::StrCat("j", i));
    request.set_request_id(absl::StrCat("r", i));
    for (int times = 0; times < 2; ++times) {
      grpc::ClientContext context;
      v1::SubmitJobResponse response;
      const grpc::Status status = trainer_->SubmitJob(&context, request, &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
    }
  }
  std::set<std::string> listed;
  v1::ListJobsRequest list;
  list.set_page_size(1000);
  do {
    grpc::ClientContext context;
    v1::ListJobsResponse page;
    const grpc::Status status = trainer_->ListJobs(&context, list, &page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_LE(page.ByteSizeLong(), size_t{1200} << 10);
    for (const v1::Job& job : page.jobs()) EXPECT_TRUE(listed.insert(job.name()).second);
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(listed.size(), static_cast<size_t>(kJobs));

  grpc::ClientContext context;
  v1::StreamStatusRequest watch;
  watch.set_parent("jobs/-");
  watch.set_send_snapshot(true);
  auto reader = trainer_->StreamStatus(&context, watch);
  v1::StreamStatusResponse message;
  std::set<std::string> snapshot;
  while (reader->Read(&message)) {
    EXPECT_LE(message.ByteSizeLong(), size_t{1200} << 10);
    for (const v1::Job& job : message.snapshot()) snapshot.insert(job.name());
    if (message.snapshot_complete()) context.TryCancel();
  }
  reader->Finish();
  EXPECT_EQ(snapshot, listed);
  grpc::ClientContext get_context;
  v1::GetJobRequest get;
  get.set_name("jobs/j0");
  v1::Job job;
  EXPECT_TRUE(trainer_->GetJob(&get_context, get, &job).ok());
  EXPECT_EQ(job.config().data().train_size(), largest.config().data().train_size());
}

TEST_F(LargeRequestsTest, MemoryReturnsAfterBurstsOfTheLargestRequests) {
  const v1::SubmitJobRequest largest = LargestJob();
  const auto submit = [&](v1::Trainer::Stub& stub, int i) {
    grpc::ClientContext context;
    v1::SubmitJobRequest request = largest;
    request.set_request_id(absl::StrCat("burst-", i));
    v1::SubmitJobResponse response;
    const grpc::Status status = stub.SubmitJob(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  const auto refused = [](v1::Trainer::Stub& stub, int) {
    grpc::ClientContext context;
    v1::PauseRequest request;
    request.set_name("jobs/a");
    request.set_reason(std::string(4'190'000, 'x'));
    v1::Job job;
    EXPECT_EQ(stub.Pause(&context, request, &job).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  };
  const auto small = [&](v1::Trainer::Stub& stub, int) {
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    EXPECT_TRUE(stub.ListJobs(&context, {}, &response).ok());
  };
  Burst(small);  // threads and connections of as many clients
  const int64_t before = ResidentBytes();
  ASSERT_GT(before, 0);
  Burst(submit);
  Burst(refused);
  EXPECT_TRUE(WaitFor([&] { return ResidentBytes() < before + kReturnsTo; }))
      << ResidentBytes() << " bytes, " << before << " before";
}

TEST_F(LargeRequestsTest, NamesAndReasonsAreNeverEchoedWhole) {
  const std::string huge(1'000'000, 'h');
  const auto check = [&](const grpc::Status& status, const char* call) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << call << ": " << status.error_message();
    EXPECT_LT(status.error_message().size(), 400u) << call;
  };
  {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_name(huge);
    v1::Job job;
    check(trainer_->GetJob(&context, request, &job), "GetJob");
  }
  {
    grpc::ClientContext context;
    v1::WaitJobRequest request;
    request.set_name(huge);
    v1::Job job;
    check(trainer_->WaitJob(&context, request, &job), "WaitJob");
  }
  {
    grpc::ClientContext context;
    v1::StreamStatusRequest request;
    request.set_parent("jobs/-");
    request.add_event_types(huge);
    auto reader = trainer_->StreamStatus(&context, request);
    v1::StreamStatusResponse message;
    EXPECT_FALSE(reader->Read(&message));
    check(reader->Finish(), "StreamStatus");
  }
  {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    request.set_page_token(huge);
    v1::ListJobsResponse response;
    check(trainer_->ListJobs(&context, request, &response), "ListJobs");
  }
  {
    grpc::ClientContext context;
    v1::SubmitJobRequest request;
    request.set_base(huge);
    v1::SubmitJobResponse response;
    check(trainer_->SubmitJob(&context, request, &response), "SubmitJob");
  }
}

}  // namespace
}  // namespace trainerd::server
