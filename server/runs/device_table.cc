// SPDX-License-Identifier: Apache-2.0
#include "server/runs/device_table.h"

#include <algorithm>
#include <utility>

namespace trainerd::server {
namespace {

bool IsCuda(const std::string& device) { return device.rfind("cuda", 0) == 0; }

bool HasUsableCuda(const std::vector<SchedulerDevice>& devices) {
  return std::any_of(devices.begin(), devices.end(),
                     [](const SchedulerDevice& d) { return d.usable && IsCuda(d.name); });
}

}  // namespace

std::vector<std::string> RequestsServedBy(const std::string& device,
                                          const std::vector<SchedulerDevice>& devices) {
  std::vector<std::string> requests = {device};
  if (IsCuda(device) == HasUsableCuda(devices)) requests.push_back("auto");
  return requests;
}

void DeviceTable::Set(std::vector<v1::Device> devices) {
  absl::MutexLock lock(&mutex_);
  devices_ = std::move(devices);
  problem_.clear();
}

void DeviceTable::SetProblem(std::string problem) {
  absl::MutexLock lock(&mutex_);
  problem_ = std::move(problem);
}

std::string DeviceTable::problem() const {
  absl::MutexLock lock(&mutex_);
  return problem_;
}

bool DeviceTable::known() const {
  absl::MutexLock lock(&mutex_);
  return devices_.has_value();
}

void DeviceTable::Hold(const std::vector<std::string>& devices, const std::string& job) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& device : devices) holders_[device] = job;
}

void DeviceTable::Release(const std::string& job) {
  absl::MutexLock lock(&mutex_);
  for (auto it = holders_.begin(); it != holders_.end();) {
    it = it->second == job ? holders_.erase(it) : std::next(it);
  }
}

std::vector<SchedulerDevice> DeviceTable::ForScheduler() const {
  absl::MutexLock lock(&mutex_);
  std::vector<SchedulerDevice> result;
  if (!devices_.has_value()) return result;
  for (const v1::Device& device : *devices_) {
    result.push_back({.name = device.name(),
                      .usable = device.unavailable().empty(),
                      .busy = holders_.count(device.name()) > 0});
  }
  return result;
}

std::vector<v1::Device> DeviceTable::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::Device> result;
  if (!devices_.has_value()) return result;
  result = *devices_;
  for (v1::Device& device : result) {
    auto it = holders_.find(device.name());
    if (it != holders_.end()) device.set_job(it->second);
  }
  return result;
}

std::optional<v1::Device> DeviceTable::Find(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  if (!devices_.has_value()) return std::nullopt;
  for (const v1::Device& device : *devices_) {
    if (device.name() == name) return device;
  }
  return std::nullopt;
}

}  // namespace trainerd::server
