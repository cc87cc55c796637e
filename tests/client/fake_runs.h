// SPDX-License-Identifier: Apache-2.0
// The logs, events, metrics and attempts of the fake daemon (fake_daemon.h).
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "tests/client/fake_store.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

class FakeRuns final : public v1::Runs::Service {
 public:
  explicit FakeRuns(FakeStore* store) : store_(store) {}
  grpc::Status StreamLogs(grpc::ServerContext*, const v1::StreamLogsRequest* request,
                          grpc::ServerWriter<v1::LogChunk>* writer) override {
    std::unique_lock lock(store_->mutex);
    const bool first = store_->log_reads.empty();
    store_->log_reads.push_back(*request);
    if (store_->on_logs) {
      lock.unlock();
      v1::LogChunk chunk;
      chunk.set_attempt(request->attempt());
      const grpc::Status status = store_->on_logs(*request, &chunk);
      if (status.ok()) writer->Write(chunk);
      return status;
    }
    size_t at = static_cast<size_t>(request->after_offset());
    size_t end = store_->log.size();
    const bool breaks = first && store_->break_log_after > 0;
    if (breaks) end = store_->break_log_after;
    v1::LogChunk chunk;
    chunk.set_attempt(request->attempt() > 0 ? request->attempt() : 2);
    chunk.set_offset(static_cast<int64_t>(at));
    chunk.set_data(store_->log.substr(at, end - at));
    chunk.set_next_offset(static_cast<int64_t>(end));
    writer->Write(chunk);
    return breaks ? grpc::Status(grpc::UNAVAILABLE, "Socket closed") : grpc::Status::OK;
  }
  grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->event_lists.push_back(*request);
    size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (int i = 0; i < std::min(2, request->page_size()) && at < store_->events.size(); ++i)
      *response->add_events() = store_->events[at++];
    if (at < store_->events.size()) response->set_next_page_token(std::to_string(at));
    response->set_cursor("c" + std::to_string(at));
    return grpc::Status::OK;
  }
  grpc::Status QueryMetrics(grpc::ServerContext*, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->metric_queries.push_back(*request);
    response->set_bucket_steps(store_->bucket_steps);
    for (const v1::MetricSeries& series : store_->metrics[request->name()]) {
      const auto& names = request->metrics();
      if (names.empty() || std::find(names.begin(), names.end(), series.metric()) != names.end())
        *response->add_series() = series;
    }
    return grpc::Status::OK;
  }
  grpc::Status ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override {
    v1::Attempt& attempt = *response->add_attempts();
    attempt.set_job(request->parent());
    attempt.set_number(1);
    attempt.add_devices("cpu");
    attempt.set_end(v1::Attempt::CRASHED);
    attempt.set_first_step(1);
    attempt.set_last_step(17);
    return grpc::Status::OK;
  }

 private:
  FakeStore* const store_;
};

}  // namespace trainerd::client
