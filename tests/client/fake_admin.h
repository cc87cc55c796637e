// SPDX-License-Identifier: Apache-2.0
// The server's information, notifications, drain and usage of the fake daemon (fake_daemon.h).
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <mutex>

#include "tests/client/fake_store.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::client {

class FakeAdmin final : public v1::Admin::Service {
 public:
  explicit FakeAdmin(FakeStore* store) : store_(store) {}
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* response) override {
    const std::lock_guard lock(store_->mutex);
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end())
      store_->authorization.assign(found->second.data(), found->second.size());
    if (!store_->accepted_authorization.empty() &&
        store_->authorization != store_->accepted_authorization)
      return grpc::Status(grpc::UNAUTHENTICATED, "this address requires a token");
    store_->on_info(*store_);
    response->set_draining(store_->draining);
    if (!store_->active_attempts.empty()) {
      response->set_active_attempts(store_->active_attempts.front());
      store_->active_attempts.erase(store_->active_attempts.begin());
    }
    response->set_version("0.0.7");
    response->set_api_revision(store_->api_revision);
    response->set_pid(42);
    v1::Device& device = *response->add_devices();
    device.set_name("cpu");
    device.set_model("test");
    return grpc::Status::OK;
  }
  grpc::Status ListNotifications(grpc::ServerContext*, const v1::ListNotificationsRequest* request,
                                 v1::ListNotificationsResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    for (const v1::Notification& notification : store_->notifications) {
      const auto& states = request->states();
      if (states.empty() ||
          std::find(states.begin(), states.end(), notification.state()) != states.end())
        *response->add_notifications() = notification;
    }
    return grpc::Status::OK;
  }
  grpc::Status RetryNotification(grpc::ServerContext*, const v1::RetryNotificationRequest* request,
                                 v1::Notification* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->notification_retries.push_back(*request);
    for (const v1::Notification& notification : store_->notifications) {
      if (notification.name() != request->name()) continue;
      if (notification.state() != v1::Notification::DEAD)
        return {grpc::FAILED_PRECONDITION, "only a DEAD one can be delivered again"};
      *response = notification;
      response->set_state(v1::Notification::PENDING);
      return grpc::Status::OK;
    }
    return {grpc::NOT_FOUND, "there is no such notification"};
  }
  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                     v1::ServerInfo* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->drains.push_back(*request);
      store_->draining = true;
    }
    return GetServerInfo(context, nullptr, response);
  }
  grpc::Status Undrain(grpc::ServerContext* context, const v1::UndrainRequest*,
                       v1::ServerInfo* response) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->draining = false;
    }
    return GetServerInfo(context, nullptr, response);
  }
  grpc::Status QueryUsage(grpc::ServerContext*, const v1::QueryUsageRequest* request,
                          v1::QueryUsageResponse* response) override {
    const std::lock_guard lock(store_->mutex);
    store_->usage_requests.push_back(*request);
    if (request->group_by() == "job")
      return Refuse(grpc::INVALID_ARGUMENT, "group_by: \"job\" is not owner, day or label:KEY", "");
    *response = store_->usage;
    return grpc::Status::OK;
  }

 private:
  FakeStore* const store_;
};

}  // namespace trainerd::client
