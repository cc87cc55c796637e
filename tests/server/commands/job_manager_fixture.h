// SPDX-License-Identifier: Apache-2.0
// The commands with a real store, without gRPC and reconciler, and the folders of a small job.
#pragma once

#include <fstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "proto/base/hash.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/job_manager.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {

class JobManagerTest : public ::testing::Test {
 protected:
  JobManagerTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
    Open();
  }
  void Open(int64_t max_queued = 100) {
    jobs_.reset();
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
    jobs_ = std::make_unique<JobManager>(
        JobManager::Options{.runs_dir = dir_ / "state/runs",
                            .paths = PathPolicy(paths_),
                            .max_queued_jobs = max_queued,
                            .max_queued_jobs_per_owner = max_queued_per_owner_,
                            .rules = rules_,
                            .clock = clock_.Function(),
                            .poke = [this](const std::string& job) { poked_.push_back(job); },
                            .remove = [this](const std::string& id) { removed_.push_back(id); }},
        *store_, devices_);
  }
  v1::SubmitJobRequest Request(const std::string& yaml = "", const std::string& request_id = "") {
    v1::SubmitJobRequest request;
    const YamlResult result =
        YamlToMessage("model: {path: " + (dir_ / "model") + "}\ndata: {train: [" +
                          (dir_ / "d.jsonl") + "]}\n" + yaml,
                      request.mutable_config());
    EXPECT_TRUE(result.violations.empty()) << result.violations.front().message;
    request.set_request_id(request_id);
    return request;
  }
  v1::Job Submit(const std::string& yaml = "") {
    auto response = jobs_->Submit(Request(yaml), "unix:");
    // Ends the test: what follows needs the job.
    if (!response.ok()) throw std::runtime_error(response.status().ToString());
    return response->job();
  }
  v1::PauseRequest Pause(const std::string& name, const std::string& id = "",
                         const std::string& etag = "") {
    v1::PauseRequest request;
    request.set_name(name);
    request.set_request_id(id);
    request.set_etag(etag);
    return request;
  }
  v1::StopRequest Stop(const std::string& name,
                       v1::StopRequest::Mode mode = v1::StopRequest::GRACEFUL) {
    v1::StopRequest request;
    request.set_name(name);
    request.set_mode(mode);
    return request;
  }
  void SetState(const std::string& id, v1::Job::State state, const std::string& checkpoint = "") {
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      record.job.set_state(state);
      record.job.set_latest_checkpoint(checkpoint);
      return StoreJob(t.db(), &record);
    }));
  }
  // A checkpoint: its row and its folder.
  void AddCheckpoint(const std::string& job, const std::string& id, int64_t step,
                     bool verified = true, bool adapter = false) {
    const std::string bytes = absl::StrCat("weights of step ", step);
    Manifest manifest{.job = job, .attempt = 1, .step = step, .kind = "checkpoint"};
    manifest.create_time = "2026-11-24T07:00:00Z";
    manifest.has_optimizer = true;
    manifest.adapter = adapter;
    manifest.files["model.safetensors"] = {static_cast<int64_t>(bytes.size()), ToHex(Xxh3(bytes))};
    std::filesystem::create_directories(dir_ / id);
    std::ofstream(dir_ / (id + "/model.safetensors")) << bytes;
    std::ofstream(dir_ / (id + "/MANIFEST.json")) << ManifestToJson(manifest);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      v1::Checkpoint c;
      c.set_name(job + "/checkpoints/" + id);
      c.set_job(job);
      c.set_step(step);
      c.set_verified(verified);
      c.set_has_optimizer(true);
      c.set_adapter(adapter);
      c.set_path(dir_ / id);
      return StoreCheckpoint(t.db(), c);
    }));
  }
  static std::string Reason(const absl::Status& status) {
    google::rpc::ErrorInfo info;
    auto payload = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo");
    if (payload.has_value()) info.ParseFromString(std::string(*payload));
    return info.reason();
  }
  static std::vector<std::string> Fields(const absl::Status& status) {
    google::rpc::BadRequest request;
    auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
    if (payload.has_value()) request.ParseFromString(std::string(*payload));
    std::vector<std::string> fields;
    for (const auto& v : request.field_violations()) fields.push_back(v.field());
    return fields;
  }

  TempDir dir_;
  PathPolicy::Options paths_{.state_dir = dir_ / "state", .home = dir_ / "home", .allow_paths = {}};
  FakeClock clock_;
  EventRecorder recorder_;
  DeviceTable devices_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<JobManager> jobs_;
  int64_t max_queued_per_owner_ = 0;
  QueueRules rules_;
  std::vector<std::string> poked_, removed_;
};

}  // namespace trainerd::server
