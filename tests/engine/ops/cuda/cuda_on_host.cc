// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/ops/cuda/cuda_on_host.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "engine/ops/cuda/cuda_ops.h"

namespace trainerd::cuda_on_host {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 64 << 10;

enum class State { kReady, kAtBarrier, kAtShuffle, kDone };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state = State::kReady;
  float given = 0.0f;
};

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "cuda_on_host: %s\n", what);
  std::abort();
}

// The launch that is in progress. Kernels run on one OS thread.
class Grid {
 public:
  Grid(int threads, const std::function<void()>& body)
      : body_(body), fibers_(static_cast<size_t>(threads)), received_(fibers_.size()) {
    if (threads < kWarp || threads > 1024 || threads % kWarp != 0) Die("bad number of threads");
    for (Fiber& fiber : fibers_) fiber.stack = std::make_unique<char[]>(kStackBytes);
  }

  void RunBlock(unsigned block, const std::vector<size_t>& order) {
    block_ = block;
    for (Fiber& fiber : fibers_) Start(fiber);
    while (!AllAre(0, fibers_.size(), State::kDone)) {
      for (size_t i : order) {
        current_ = i;
        if (fibers_[i].state == State::kReady) swapcontext(&scheduler_, &fibers_[i].context);
      }
      if (!Release()) Die("threads of a block or warp wait for others that never arrive");
    }
  }

  unsigned thread() const { return static_cast<unsigned>(current_); }
  unsigned block() const { return block_; }

  void Wait(State state) {
    Fiber& fiber = fibers_[current_];
    fiber.state = state;
    swapcontext(&fiber.context, &scheduler_);
  }

  float Shuffle(float value, int lane_mask) {
    const size_t from = current_ ^ static_cast<size_t>(lane_mask);
    if (from / kWarp != current_ / kWarp) Die("a shuffle reads another warp");
    fibers_[current_].given = value;
    Wait(State::kAtShuffle);
    return received_[from];
  }

 private:
  static void Enter();

  void Start(Fiber& fiber) {
    fiber.state = State::kReady;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler_;
    makecontext(&fiber.context, &Grid::Enter, 0);
  }

  bool AllAre(size_t begin, size_t end, State state) const {
    return std::all_of(fibers_.begin() + static_cast<std::ptrdiff_t>(begin),
                       fibers_.begin() + static_cast<std::ptrdiff_t>(end),
                       [&](const Fiber& fiber) { return fiber.state == state; });
  }

  // Lets complete warps and a complete block continue. False if no thread can.
  bool Release() {
    if (AllAre(0, fibers_.size(), State::kDone)) return true;
    bool any = AllAre(0, fibers_.size(), State::kAtBarrier);
    if (any) {
      for (Fiber& fiber : fibers_) fiber.state = State::kReady;
    }
    for (size_t warp = 0; warp < fibers_.size(); warp += kWarp) {
      if (!AllAre(warp, warp + kWarp, State::kAtShuffle)) continue;
      any = true;
      for (size_t i = warp; i < warp + kWarp; ++i) {
        received_[i] = fibers_[i].given;
        fibers_[i].state = State::kReady;
      }
    }
    return any;
  }

  const std::function<void()>& body_;
  std::vector<Fiber> fibers_;
  std::vector<float> received_;
  ucontext_t scheduler_;
  size_t current_ = 0;
  unsigned block_ = 0;
};

Grid* grid = nullptr;
ThreadOrder thread_order = ThreadOrder::kForward;

void Grid::Enter() {
  grid->body_();
  grid->fibers_[grid->current_].state = State::kDone;
}

}  // namespace

Index ThreadIndex() { return {grid->thread()}; }
Index BlockIndex() { return {grid->block()}; }
void SyncThreads() { grid->Wait(State::kAtBarrier); }
float ShuffleXor(float value, int lane_mask) { return grid->Shuffle(value, lane_mask); }
void SetThreadOrder(ThreadOrder order) { thread_order = order; }

void Run(int64_t blocks, int threads, const std::function<void()>& body) {
  Grid launch(threads, body);
  grid = &launch;
  std::vector<size_t> order(static_cast<size_t>(threads));
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937 random(7);
  if (thread_order == ThreadOrder::kBackward) std::reverse(order.begin(), order.end());
  for (int64_t block = 0; block < blocks; ++block) {
    if (thread_order == ThreadOrder::kShuffled) std::shuffle(order.begin(), order.end(), random);
    launch.RunBlock(static_cast<unsigned>(block), order);
  }
  grid = nullptr;
}

}  // namespace trainerd::cuda_on_host

namespace trainerd::engine::cuda {

void* CurrentStream(at::Device) { return nullptr; }
void CheckLaunch() {}

}  // namespace trainerd::engine::cuda
