// SPDX-License-Identifier: Apache-2.0
// Checkpoint speed against the disk's own: in turns, a plain writer puts as many bytes into one
// file (8 MiB blocks, then fsync), and WriteCheckpoint writes the model and its fp32 AdamW state,
// publishes it and reads it back. Nothing else runs in the process. Prints one JSON line.
//
// usage: checkpoint_bench --model DIR --scratch DIR [--rounds 5] [--precision fp32|bf16]
#include <ATen/ops/randn.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/optim/factory.h"
#include "engine/platform/torch_status.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::engine {
namespace {

constexpr size_t kBlockBytes = 8 << 20;

struct Flags {
  std::string model, scratch, precision = "fp32";
  int rounds = 5;
};

// Of one round, in seconds.
struct Times {
  std::vector<double> raw, checkpoint, read_back;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Bytes that no layer below can make smaller.
std::vector<char> RandomBlock() {
  std::vector<char> block(kBlockBytes);
  std::mt19937_64 random(7);
  for (size_t i = 0; i < block.size(); i += 8) {
    const uint64_t value = random();
    std::copy_n(reinterpret_cast<const char*>(&value), 8, block.data() + i);
  }
  return block;
}

absl::StatusOr<double> WriteRaw(const std::string& path, int64_t bytes,
                                const std::vector<char>& block) {
  const double begin = Now();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", path));
  absl::Status status;
  while (bytes > 0 && status.ok()) {
    const ssize_t written = ::write(fd, block.data(), std::min<int64_t>(bytes, kBlockBytes));
    if (written < 0) status = ErrnoStatus(errno, absl::StrCat("write ", path));
    bytes -= written;
  }
  if (status.ok() && ::fsync(fd) != 0) status = ErrnoStatus(errno, absl::StrCat("fsync ", path));
  ::close(fd);
  const double seconds = Now() - begin;
  ::unlink(path.c_str());
  if (!status.ok()) return status;
  return seconds;
}

absl::Status Round(const Flags& flags, const CheckpointTarget& target,
                   const ParameterSet& parameters, Optimizer& optimizer,
                   const std::vector<char>& block, int64_t* bytes, Times* times) {
  RunState state;
  state.step = 1;
  state.total_steps = 1;
  double begin = Now();
  ASSIGN_OR_RETURN(const v1::Checkpoint checkpoint,
                   WriteCheckpoint(target, state, parameters, optimizer));
  times->checkpoint.push_back(Now() - begin);
  *bytes = checkpoint.size_bytes();
  // What the checkpoint's own read-back took cannot be seen from outside: the same is done once
  // more.
  begin = Now();
  RETURN_IF_ERROR(VerifyFromDisk(checkpoint.path()));
  times->read_back.push_back(Now() - begin);
  RETURN_IF_ERROR(RemoveAll(checkpoint.path()));
  ASSIGN_OR_RETURN(const double raw, WriteRaw(flags.scratch + "/raw", *bytes, block));
  times->raw.push_back(raw);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  std::error_code error;
  const std::string run_dir = std::filesystem::absolute(flags.scratch, error).string();
  std::filesystem::create_directories(run_dir, error);
  RETURN_IF_ERROR(WritePublisher(run_dir, 1));
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(flags.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<HfFolder> weights, HfFolder::Open(flags.model));
  const Precision precision = flags.precision == "bf16" ? Precision::kBf16 : Precision::kFp32;
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters,
                   ParameterSet::Create(config, precision, at::kCPU));
  RETURN_IF_ERROR(parameters->Load(*weights));
  v1::OptimizerConfig optimizer_config;
  optimizer_config.set_type(v1::OptimizerConfig::TYPE_ADAMW);
  for (const double beta : {0.9, 0.999}) optimizer_config.add_betas(beta);
  ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                   MakeOptimizer(optimizer_config, *parameters));
  for (const OptimizerState& state : optimizer->State()) {
    for (const at::Tensor& tensor : state.tensors) tensor.copy_(at::randn(tensor.sizes()).abs_());
  }

  const CheckpointTarget target{
      .run_dir = run_dir, .job = "jobs/bench", .attempt = 1, .model_folder = flags.model};
  const std::vector<char> block = RandomBlock();
  Times times;
  int64_t bytes = 0;
  for (int i = 0; i < flags.rounds; ++i)
    RETURN_IF_ERROR(Round(flags, target, *parameters, *optimizer, block, &bytes, &times));
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  const double raw = Median(times.raw), whole = Median(times.checkpoint),
               read_back = Median(times.read_back);
  const double durable = whole - read_back;
  std::printf(
      "{\"parameters\":%lld,\"bytes\":%lld,\"rounds\":%d,\"disk_gb_s\":%.2f,\"durable_gb_s\":%.2f,"
      "\"durable_share_of_disk\":%.2f,\"durable_s\":%.2f,"
      "\"read_back_s\":%.2f,\"verified_s\":%.2f,\"verified_share_of_disk\":%.2f}\n",
      static_cast<long long>(parameters->num_parameters()), static_cast<long long>(bytes),
      flags.rounds, gigabytes / raw, gigabytes / durable, raw / durable, durable, read_back, whole,
      raw / whole);
  return absl::OkStatus();
}

bool Parse(int argc, char** argv, Flags& flags) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--model")
      flags.model = value;
    else if (name == "--scratch")
      flags.scratch = value;
    else if (name == "--rounds")
      flags.rounds = std::atoi(value);
    else if (name == "--precision")
      flags.precision = value;
    else
      return false;
  }
  return argc % 2 == 1 && !flags.model.empty() && !flags.scratch.empty() && flags.rounds > 0;
}

}  // namespace
}  // namespace trainerd::engine

int main(int argc, char** argv) {
  mallopt(M_MMAP_MAX, 0);
  trainerd::engine::Flags flags;
  if (!trainerd::engine::Parse(argc, argv, flags)) {
    std::fprintf(stderr, "usage: see the head of checkpoint_bench.cc\n");
    return 2;
  }
  const absl::Status status =
      trainerd::engine::CatchTorch([&] { return trainerd::engine::Run(flags); });
  if (!status.ok())
    std::fprintf(stderr, "checkpoint_bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
