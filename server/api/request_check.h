// SPDX-License-Identifier: Apache-2.0
// The answer to a request that is not a valid message: garbage bytes, or text that is not UTF-8.
// gRPC alone answers INTERNAL or UNIMPLEMENTED without a message.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>

namespace trainerd::server {

// INVALID_ARGUMENT for a request to `method` ("/package.Service/Method") that cannot be parsed.
grpc::Status NotAMessage(const std::string& method);

// Answers with NotAMessage in each call with one request, except in StreamStatus, which parses its
// request itself.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeRequestCheck();

}  // namespace trainerd::server
