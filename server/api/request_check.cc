// SPDX-License-Identifier: Apache-2.0
#include "server/api/request_check.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace trainerd::server {
namespace {

using grpc::experimental::InterceptionHookPoints;

// One call.
class RequestCheck final : public grpc::experimental::Interceptor {
 public:
  explicit RequestCheck(std::string method) : method_(std::move(method)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE))
      unparsable_ = methods->GetRecvMessage() == nullptr;
    if (unparsable_ && methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      methods->ModifySendStatus(NotAMessage(method_));
    methods->Proceed();
  }

 private:
  const std::string method_;
  bool unparsable_ = false;
};

class RequestCheckFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    using Type = grpc::experimental::ServerRpcInfo::Type;
    // A stream of requests ends with a null message, too. StreamStatus has many messages, and each
    // would pass through the interceptor.
    const std::string method = info->method();
    const bool one_request = info->type() == Type::UNARY || info->type() == Type::SERVER_STREAMING;
    return one_request && !absl::EndsWith(method, "/StreamStatus") ? new RequestCheck(method)
                                                                   : nullptr;
  }
};

}  // namespace

grpc::Status NotAMessage(const std::string& method) {
  return {grpc::StatusCode::INVALID_ARGUMENT,
          absl::StrCat("the request to ", method,
                       " is not a valid message: it is damaged, of another type, or has text that "
                       "is not UTF-8")};
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRequestCheck() {
  return std::make_unique<RequestCheckFactory>();
}

}  // namespace trainerd::server
