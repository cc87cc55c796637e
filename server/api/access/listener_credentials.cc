// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/listener_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace trainerd::server {
namespace {

// Orchestrators probe without a token. The answer has nothing but a state.
constexpr char kHealthPrefix[] = "/grpc.health.v1.Health/";
constexpr char kApiPrefix[] = "/trainerd.v1.";

// The processor of the calls of one listener.
class CallCheck {
 public:
  explicit CallCheck(const ListenerOptions& options)
      : access_(options.access),
        transport_(options.transport),
        uid_(options.uid),
        user_(options.uid.has_value() ? absl::StrCat(*options.uid) : kOtherUser) {}

  // Each call of a connection has the same context.
  void Mark(grpc_auth_context* context) {
    if (transport_ != CallFacts::Transport::kUnix) return;
    absl::MutexLock lock(&mutex_);
    auto found = grpc_auth_context_find_properties_by_name(context, kUidProperty);
    if (grpc_auth_property_iterator_next(&found) == nullptr)
      grpc_auth_context_add_cstring_property(context, kUidProperty, user_.c_str());
  }

  absl::Status Check(grpc_auth_context* context, const grpc_metadata* metadata, size_t count) {
    absl::string_view path;
    CallFacts facts{.transport = transport_, .uid = uid_};
    for (size_t i = 0; i < count; ++i) {
      const absl::string_view key = View(metadata[i].key);
      if (key == ":path") path = View(metadata[i].value);
      if (key == "authorization" && !facts.authorization.has_value())
        facts.authorization = std::string(View(metadata[i].value));
    }
    if (absl::StartsWith(path, kApiPrefix) || absl::StartsWith(path, kHealthPrefix))
      return absl::OkStatus();
    for (const char* name :
         {GRPC_PEER_DNS_PROPERTY_NAME, GRPC_PEER_URI_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
      auto values = grpc_auth_context_find_properties_by_name(context, name);
      while (const grpc_auth_property* value = grpc_auth_property_iterator_next(&values))
        facts.certificate_names.emplace_back(value->value, value->value_length);
    }
    return access_.CheckOther(facts);
  }

 private:
  static absl::string_view View(const grpc_slice& slice) {
    return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
  }

  const Access& access_;
  const CallFacts::Transport transport_;
  const std::optional<uint32_t> uid_;
  const std::string user_;
  absl::Mutex mutex_;
};

void Process(void* state, grpc_auth_context* context, const grpc_metadata* metadata, size_t count,
             grpc_process_auth_metadata_done_cb done, void* user_data) {
  auto* check = static_cast<CallCheck*>(state);
  check->Mark(context);
  const absl::Status status = check->Check(context, metadata, count);
  // The codes of both are the same numbers.
  done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.code()),
       status.ok() ? nullptr : std::string(status.message()).c_str());
}

class ListenerCredentials final : public grpc::ServerCredentials {
 public:
  // Takes `credentials`.
  ListenerCredentials(grpc_server_credentials* credentials, std::unique_ptr<CallCheck> check)
      : credentials_(credentials) {
    grpc_server_credentials_set_auth_metadata_processor(
        credentials_,
        {Process, [](void* state) { delete static_cast<CallCheck*>(state); }, check.release()});
  }
  ~ListenerCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeListenerCredentials(const ListenerOptions& options) {
  grpc_server_credentials* credentials = nullptr;
  switch (options.transport) {
    case CallFacts::Transport::kUnix:
      credentials = grpc_local_server_credentials_create(UDS);
      break;
    case CallFacts::Transport::kLoopback:
      credentials = grpc_local_server_credentials_create(LOCAL_TCP);
      break;
    case CallFacts::Transport::kTls:
      credentials = options.certificates->MakeCredentials();
      break;
  }
  if (credentials == nullptr) return nullptr;
  return std::make_shared<ListenerCredentials>(credentials, std::make_unique<CallCheck>(options));
}

}  // namespace trainerd::server
