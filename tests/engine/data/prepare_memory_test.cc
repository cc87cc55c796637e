// SPDX-License-Identifier: Apache-2.0
// The bound of prepare.h, in child processes: what the kernel counted for them at their largest.
// The set's tokens and labels alone would take 8 bytes for each of its bytes.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

// Resident memory, at its peak, of a process that prepares `path` and goes through a step of it.
int64_t PeakBytes(const v1::JobConfig& config, int64_t conversations) {
  const pid_t child = fork();
  if (child == 0) {
    const auto text = OpenTextPipeline(config);
    const auto data = PrepareData(config, *text, nullptr, {.num_threads = 2});
    const DataLoader loader(*data->store, data->train_sequences, LoaderOptions(config));
    const bool whole = data.ok() && data->report.trained_examples() == conversations &&
                       loader.Step(loader.total_steps()).ok();
    _exit(whole ? 0 : 1);
  }
  int status = 0;
  rusage usage{};
  EXPECT_EQ(wait4(child, &status, 0, &usage), child);
  EXPECT_EQ(status, 0);
  return int64_t{usage.ru_maxrss} * 1024;
}

TEST(PrepareMemoryTest, IsBoundedByTheNumberOfConversationsAndNotByTheirBytes) {
  const TempDir folder;
  const std::string model = WriteByteTokenizer(folder, "");
  const std::string path = folder.path() + "/train.jsonl";
  constexpr int64_t kSmall = 1000, kLarge = 40000;
  const auto peak_of = [&](int64_t conversations) {
    std::ofstream file(path);
    for (int64_t i = 0; i < conversations; ++i) {
      file << Row(std::to_string(i) + std::string(700, 'q'), std::string(800, 'a'));
    }
    file.close();
    v1::JobConfig config = BaseConfig(model, path);
    config.mutable_data()->set_max_length(2048);
    return PeakBytes(config, conversations);
  };
  const int64_t small = peak_of(kSmall), large = peak_of(kLarge);
  const int64_t file_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  ASSERT_GT(file_bytes, 60 << 20);
  EXPECT_LT(large, kDataMemoryBytes + kLarge * kDataMemoryPerConversation);
  // A block of rows in work differs from run to run.
  constexpr int64_t kSlack = 40 << 20;
  EXPECT_LT(large, small + kLarge * kDataMemoryPerConversation + kSlack)
      << small << " bytes for the small set";
  RecordProperty("peak_bytes", std::to_string(large));
  std::printf("peak %lld MB for %lld conversations of %lld MB, %lld MB for %lld\n",
              static_cast<long long>(large >> 20), static_cast<long long>(kLarge),
              static_cast<long long>(file_bytes >> 20), static_cast<long long>(small >> 20),
              static_cast<long long>(kSmall));
}

}  // namespace
}  // namespace trainerd::engine
