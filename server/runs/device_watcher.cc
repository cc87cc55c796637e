// SPDX-License-Identifier: Apache-2.0
#include "server/runs/device_watcher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// "cpu, cuda:0 (NVIDIA H200), cuda:1 unavailable: …"
std::string Summary(const std::vector<v1::Device>& devices) {
  return absl::StrJoin(devices, ", ", [](std::string* out, const v1::Device& device) {
    absl::StrAppend(out, device.name());
    if (!device.model().empty()) absl::StrAppend(out, " (", device.model(), ")");
    if (!device.unavailable().empty()) absl::StrAppend(out, " unavailable: ", device.unavailable());
  });
}

}  // namespace

DeviceWatcher::DeviceWatcher(Options options, DeviceTable& devices)
    : options_(std::move(options)), devices_(devices) {}

DeviceWatcher::~DeviceWatcher() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void DeviceWatcher::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void DeviceWatcher::QueryNow() { wake_up_.Wake(); }

void DeviceWatcher::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_up_.Wake();
}

void DeviceWatcher::Loop() {
  while (true) {
    const absl::Duration wait = Query();
    options_.on_answer();
    wake_up_.SleepFor(wait);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

absl::Duration DeviceWatcher::Query() {
  absl::StatusOr<std::vector<v1::Device>> answer = options_.query();
  if (!answer.ok()) {
    const std::string why = absl::StrCat("cannot query the devices of this machine: ",
                                         std::string(answer.status().message()));
    if (!devices_.known()) {
      devices_.SetProblem(why);
      return options_.retry_after;
    }
    // The machine was busy, or the worker is being replaced: what is known stays.
    spdlog::warn("{}", why);
    return options_.unavailable_every;
  }
  const std::string before = devices_.known() ? Summary(devices_.List()) : "";
  const std::string now = Summary(*answer);
  if (now != before) spdlog::info("devices={} {}", answer->size(), now);
  const bool all_available =
      std::all_of(answer->begin(), answer->end(),
                  [](const v1::Device& device) { return device.unavailable().empty(); });
  devices_.Set(*std::move(answer));
  return all_available ? options_.every : options_.unavailable_every;
}

}  // namespace trainerd::server
