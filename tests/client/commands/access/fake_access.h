// SPDX-License-Identifier: Apache-2.0
// A daemon with the calls for tokens and the audit log only, over a unix socket. Lists have pages
// of two, whatever the request: a client must follow the tokens.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {

class FakeAccess final : public v1::Admin::Service {
 public:
  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* response) override {
    response->set_api_revision(kApiRevision);
    return grpc::Status::OK;
  }
  grpc::Status CreateToken(grpc::ServerContext*, const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* response) override {
    const std::lock_guard lock(mutex);
    creates.push_back(*request);
    if (loses_answers) return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
    v1::Token& token = *response->mutable_token();
    token.set_name("tokens/0123");
    token.set_principal(request->principal());
    token.set_role(request->role());
    if (!request->has_ttl() || request->ttl().seconds() > 0)
      token.mutable_expire_time()->set_seconds(1'900'000'000);
    response->set_secret("trainerd_secret");
    return grpc::Status::OK;
  }
  grpc::Status ListTokens(grpc::ServerContext*, const v1::ListTokensRequest* request,
                          v1::ListTokensResponse* response) override {
    const std::lock_guard lock(mutex);
    response->set_next_page_token(Page(request->page_token(), tokens, response->mutable_tokens()));
    return grpc::Status::OK;
  }
  grpc::Status RevokeToken(grpc::ServerContext*, const v1::RevokeTokenRequest* request,
                           v1::Token* response) override {
    const std::lock_guard lock(mutex);
    revocations.push_back(request->name());
    for (const v1::Token& token : tokens) {
      if (token.name() != request->name()) continue;
      *response = token;
      response->mutable_revoke_time()->set_seconds(1'800'000'000);
      return grpc::Status::OK;
    }
    return Refuse(grpc::StatusCode::NOT_FOUND, request->name() + " does not exist",
                  "TOKEN_NOT_FOUND");
  }
  grpc::Status ListAuditEntries(grpc::ServerContext*, const v1::ListAuditEntriesRequest* request,
                                v1::ListAuditEntriesResponse* response) override {
    const std::lock_guard lock(mutex);
    audit_requests.push_back(*request);
    response->set_start_hash(start_hash);
    response->set_next_page_token(
        Page(request->page_token(), entries, response->mutable_entries()));
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::vector<v1::CreateTokenRequest> creates;
  // Each token is created, and the answer is lost.
  bool loses_answers = false;
  std::vector<v1::Token> tokens;
  std::vector<std::string> revocations;
  std::string start_hash;
  std::vector<v1::AuditEntry> entries;
  std::vector<v1::ListAuditEntriesRequest> audit_requests;

 private:
  // Copies two elements, and returns the next page token.
  template <typename Element, typename List>
  static std::string Page(const std::string& token, const std::vector<Element>& all, List* list) {
    const size_t begin = token.empty() ? 0 : std::stoul(token);
    const size_t end = std::min(begin + 2, all.size());
    for (size_t i = begin; i < end; ++i) *list->Add() = all[i];
    return end < all.size() ? std::to_string(end) : "";
  }
};

class AccessCommandTest : public ::testing::Test {
 protected:
  AccessCommandTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(SocketOf(folder_.path()), grpc::InsecureServerCredentials());
    builder.RegisterService(&fake_);
    server_ = builder.BuildAndStart();
  }
  ~AccessCommandTest() override { server_->Shutdown(std::chrono::system_clock::now()); }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }

  TempDir folder_;
  FakeAccess fake_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace trainerd::client
