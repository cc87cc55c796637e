// SPDX-License-Identifier: Apache-2.0
// Bytes that are no message, and text that is not UTF-8, at each RPC of the API.
#include "server/api/request_check.h"

#include <grpcpp/generic/generic_stub.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "proto/contract/job/api_services.h"
#include "tests/server/api/api_fixture.h"

namespace trainerd::server {
namespace {

class RequestCheckTest : public ApiTest {
 protected:
  grpc::Status Call(const std::string& method, const std::string& bytes) {
    grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel_);
    // A call with one request reads as a stream, whatever the method answers with.
    auto call = stub.PrepareCall(&context, method, &queue);
    const auto wait = [&](void* expected) {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue.Next(&tag, &ok));
      EXPECT_EQ(tag, expected);
      return ok;
    };
    int tags[4];
    call->StartCall(&tags[0]);
    wait(&tags[0]);
    call->WriteLast(request, grpc::WriteOptions(), &tags[1]);
    wait(&tags[1]);
    grpc::Status status;
    grpc::ByteBuffer answer;
    do call->Read(&answer, &tags[2]);
    while (wait(&tags[2]));
    call->Finish(&status, &tags[3]);
    wait(&tags[3]);
    return status;
  }
  static std::vector<const google::protobuf::MethodDescriptor*> Methods() {
    std::vector<const google::protobuf::MethodDescriptor*> methods;
    for (const google::protobuf::ServiceDescriptor* service : ApiServices()) {
      for (int k = 0; k < service->method_count(); ++k) methods.push_back(service->method(k));
    }
    return methods;
  }
  static std::string PathOf(const google::protobuf::MethodDescriptor& method) {
    return absl::StrCat("/", method.service()->full_name(), "/", method.name());
  }
};

TEST_F(RequestCheckTest, RefusesGarbageAtEachMethod) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  for (const auto* method : Methods()) {
    // An end in the middle of a field, a group that never ends, a length beyond the end.
    for (const std::string& bytes :
         {std::string("\x0a"), std::string("\xff\xff\xff"), std::string("\x0a\x7fxx"),
          std::string("\x0b"), std::string("\x0a\x0c", 2) + "h"}) {
      const grpc::Status status = Call(PathOf(*method), bytes);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << PathOf(*method);
      EXPECT_TRUE(absl::StrContains(status.error_message(), PathOf(*method)))
          << status.error_message();
    }
  }
}

TEST_F(RequestCheckTest, RefusesTextThatIsNotUtf8InEachTextField) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  int fields = 0;
  for (const auto* method : Methods()) {
    for (int i = 0; i < method->input_type()->field_count(); ++i) {
      const auto* field = method->input_type()->field(i);
      if (field->type() != google::protobuf::FieldDescriptor::TYPE_STRING) continue;
      ++fields;
      // A lone continuation byte, an overlong slash, a surrogate, a cut sequence.
      for (const char* text : {"a\x80", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82"}) {
        const std::string bytes =
            absl::StrCat(std::string(1, static_cast<char>(field->number() << 3 | 2)),
                         std::string(1, static_cast<char>(strlen(text))), text);
        const grpc::Status status = Call(PathOf(*method), bytes);
        EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field->full_name();
        EXPECT_TRUE(absl::StrContains(status.error_message(), "UTF-8")) << field->full_name();
      }
    }
  }
  EXPECT_GE(fields, 20);
}

TEST_F(RequestCheckTest, RefusesTextThatIsNotUtf8BelowTheTop) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  v1::SubmitJobRequest request = Request("a");
  for (int variant = 0; variant < 3; ++variant) {
    std::string bytes;
    v1::SubmitJobRequest bad = request;
    const std::string mark = "QQQQ";
    if (variant == 0) bad.mutable_config()->set_name(mark);
    if (variant == 1) (*bad.mutable_config()->mutable_labels())[mark] = "v";
    if (variant == 2) bad.mutable_config()->mutable_data()->mutable_train(0)->set_path(mark);
    bytes = bad.SerializeAsString();
    bytes.replace(bytes.find(mark), mark.size(), "\xff\xfe\x80x");
    EXPECT_EQ(Call("/trainerd.v1.Trainer/SubmitJob", bytes).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT)
        << variant;
  }
}

TEST_F(RequestCheckTest, LeavesOtherAnswersAlone) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  EXPECT_TRUE(Call("/trainerd.v1.Trainer/ListJobs", "").ok());
  EXPECT_EQ(Call("/trainerd.v1.Trainer/GetJob", "\x0a\x06jobs/x").error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Call("/trainerd.v1.Trainer/Nothing", "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace trainerd::server
