// SPDX-License-Identifier: Apache-2.0
// The devices of this machine and the job that holds each of them. Empty until trainerd-worker has
// reported them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// What the scheduler needs to know about a device.
struct SchedulerDevice {
  // For example "cpu" or "cuda:0".
  std::string name;
  // False: the machine has the device, but it cannot be used at present.
  bool usable = true;
  bool busy = false;
};

// Values of resources.device that `device` can serve: its own name, and "auto" if auto stands for
// this kind of device (cuda if a cuda device is usable, otherwise cpu).
std::vector<std::string> RequestsServedBy(const std::string& device,
                                          const std::vector<SchedulerDevice>& devices);

// Thread-safety: all methods may be called from any thread.
class DeviceTable {
 public:
  void Set(std::vector<v1::Device> devices);
  // Why the devices are unknown; empty once they are known, and before the first answer.
  void SetProblem(std::string problem);
  std::string problem() const;
  bool known() const;

  void Hold(const std::vector<std::string>& devices, const std::string& job);
  // Releases every device that the job holds.
  void Release(const std::string& job);

  std::vector<SchedulerDevice> ForScheduler() const;
  // With Device.job set.
  std::vector<v1::Device> List() const;
  std::optional<v1::Device> Find(const std::string& name) const;

 private:
  mutable absl::Mutex mutex_;
  std::optional<std::vector<v1::Device>> devices_ ABSL_GUARDED_BY(mutex_);
  std::string problem_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> holders_ ABSL_GUARDED_BY(mutex_);  // device → job
};

}  // namespace trainerd::server
