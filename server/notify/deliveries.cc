// SPDX-License-Identifier: Apache-2.0
#include "server/notify/deliveries.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "proto/base/secret/private_file.h"
#include "proto/base/secret/webhook_signature.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/framing.h"
#include "server/notify/local_command.h"
#include "server/notify/webhook.h"

namespace trainerd::server {
namespace {

// The key of the file, which can have changed since the last delivery.
absl::StatusOr<std::string> ReadKey(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadPrivateFile(path));
  absl::StatusOr<std::string> key = ParseWebhookSecret(text);
  if (!key.ok()) return Annotate(key.status(), path);
  return key;
}

// Shared with the threads, which may outlive the loop.
struct Output {
  explicit Output(int socket) : fd(socket) {}
  void Write(const internal::DeliveryResult& result) {
    absl::MutexLock lock(&mutex);
    // The daemon has exited: the loop ends, too.
    WriteSocketFrame(fd, result.SerializeAsString()).IgnoreError();
  }

  const int fd;
  absl::Mutex mutex;
};

}  // namespace

std::string Deliver(const internal::Delivery& delivery) {
  if (delivery.command_size() > 0) {
    return RunLocalCommand({delivery.command().begin(), delivery.command().end()}, delivery.body());
  }
  absl::StatusOr<std::string> key = ReadKey(delivery.secret_file());
  if (!key.ok()) return std::string(key.status().message());
  return PostWebhook({.url = delivery.url(),
                      .key = *std::move(key),
                      .id = absl::StrCat(delivery.number()),
                      .unix_seconds = absl::ToUnixSeconds(absl::Now()),
                      .body = delivery.body()});
}

int RunDeliveries(int fd, const DeliverFunction& deliver) {
  const auto output = std::make_shared<Output>(fd);
  while (true) {
    const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, /*timeout_ms=*/-1);
    if (!frame.ok()) {
      std::fprintf(stderr, "trainerd-notify: %s\n", std::string(frame.status().message()).c_str());
      return 1;
    }
    if (!frame->has_value()) return 0;
    internal::Delivery delivery;
    if (!delivery.ParseFromString(**frame)) {
      std::fprintf(stderr, "trainerd-notify: received something that is no delivery\n");
      return 1;
    }
    std::thread([output, deliver, delivery = std::move(delivery)] {
      internal::DeliveryResult result;
      result.set_number(delivery.number());
      result.set_error(deliver(delivery));
      output->Write(result);
    }).detach();
  }
}

}  // namespace trainerd::server
