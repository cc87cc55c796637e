// SPDX-License-Identifier: Apache-2.0
// protobuf's own conversion, with a description of the enums of configuration files in which the
// values have their words as names (enum_words.h).
#include "proto/contract/config/json_output.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/type.pb.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/type_resolver.h"
#include "google/protobuf/util/type_resolver_util.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::Message;
using google::protobuf::util::TypeResolver;

constexpr char kTypeUrlPrefix[] = "type.googleapis.com";

class WordResolver : public TypeResolver {
 public:
  using Status = google::protobuf::util::Status;

  Status ResolveMessageType(const std::string& type_url, google::protobuf::Type* type) override {
    return names_->ResolveMessageType(type_url, type);
  }

  Status ResolveEnumType(const std::string& type_url, google::protobuf::Enum* type) override {
    Status status = names_->ResolveEnumType(type_url, type);
    const EnumDescriptor* descriptor =
        DescriptorPool::generated_pool()->FindEnumTypeByName(type->name());
    if (!status.ok() || descriptor == nullptr) return status;
    for (google::protobuf::EnumValue& value : *type->mutable_enumvalue())
      value.set_name(EnumText(*descriptor, value.number()));
    return status;
  }

 private:
  const std::unique_ptr<TypeResolver> names_{
      google::protobuf::util::NewTypeResolverForDescriptorPool(kTypeUrlPrefix,
                                                               DescriptorPool::generated_pool())};
};

TypeResolver* Resolver() {
  static WordResolver& resolver = *new WordResolver;
  return &resolver;
}

std::string TypeUrl(const Message& message) {
  return absl::StrCat(kTypeUrlPrefix, "/", message.GetTypeName());
}

}  // namespace

std::string MessageToJsonLine(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = false;
  std::string json;
  if (google::protobuf::util::BinaryToJsonString(Resolver(), TypeUrl(message),
                                                 message.SerializeAsString(), &json, options)
          .ok())
    return json;
  // A time outside the years 1 to 9999, from a faulty peer.
  return absl::StrCat("{\"unprintable\":\"", message.GetTypeName(), "\"}");
}

absl::Status JsonToMessage(const std::string& json, Message* message) {
  std::string binary;
  const auto status =
      google::protobuf::util::JsonToBinaryString(Resolver(), TypeUrl(*message), json, &binary);
  if (status.ok() && message->ParseFromString(binary)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("JSON does not fit ", message->GetTypeName(), ": ",
                                                 std::string(status.message())));
}

}  // namespace trainerd
