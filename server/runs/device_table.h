// SPDX-License-Identifier: Apache-2.0
// What this machine offers and which job holds it. Empty until trainerd-worker has answered.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// A device as the scheduler sees it.
struct SchedulerDevice {
  std::string name;    // "cpu", "cuda:0"
  bool usable = true;  // false: the machine has it, but it cannot be used now
  bool busy = false;
};

// Thread-safety: all methods may be called from any thread.
class DeviceTable {
 public:
  void Set(std::vector<v1::Device> devices);
  // Why the devices are not known; "" once they are, or while the question is still out.
  void SetProblem(std::string problem);
  std::string problem() const;
  bool known() const;

  void Hold(const std::vector<std::string>& devices, const std::string& job);
  // Releases whatever the job holds.
  void Release(const std::string& job);

  std::vector<SchedulerDevice> ForScheduler() const;
  // With holders filled in.
  std::vector<v1::Device> List() const;
  std::optional<v1::Device> Find(const std::string& name) const;

 private:
  mutable absl::Mutex mutex_;
  std::optional<std::vector<v1::Device>> devices_ ABSL_GUARDED_BY(mutex_);
  std::string problem_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> holders_ ABSL_GUARDED_BY(mutex_);  // device → job
};

}  // namespace trainerd::server
