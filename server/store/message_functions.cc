// SPDX-License-Identifier: Apache-2.0
#include "server/store/message_functions.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/field_upgrade.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {
namespace {

using google::protobuf::Message;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// JobLedger.checkpoint_tokens, a map<string, int64> that is reserved now.
constexpr int kLedgerTokensNumber = 14;

std::string_view Bytes(sqlite3_value* value) {
  const void* data = sqlite3_value_blob(value);
  const int size = sqlite3_value_bytes(value);
  return data == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
}

absl::Status Parse(std::string_view bytes, Message* message) {
  if (message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("a stored ", message->GetTypeName(), " does not parse"));
}

void Answer(sqlite3_context* context, const absl::Status& status, const Message& message) {
  if (!status.ok()) {
    const std::string text(status.message());
    return sqlite3_result_error(context, text.c_str(), static_cast<int>(text.size()));
  }
  const std::string bytes = message.SerializeAsString();
  sqlite3_result_blob64(context, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
}

void Upgraded(sqlite3_context* context, int, sqlite3_value** arguments) {
  const std::string type(Bytes(arguments[0]));
  const auto* descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(type);
  TRAINERD_CHECK(descriptor != nullptr);
  const std::unique_ptr<Message> message(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(descriptor)->New());
  absl::Status status = Parse(Bytes(arguments[1]), message.get());
  if (status.ok()) status = UpgradeFields(message.get());
  Answer(context, status, *message);
}

// The value of `id` in the reserved map; an entry of a map is a message {key = 1, value = 2}.
std::optional<int64_t> TokensOf(const internal::JobLedger& ledger, std::string_view id) {
  const UnknownFieldSet& unknown = ledger.GetReflection()->GetUnknownFields(ledger);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const UnknownField& field = unknown.field(i);
    UnknownFieldSet entry;
    if (field.number() != kLedgerTokensNumber ||
        field.type() != UnknownField::TYPE_LENGTH_DELIMITED ||
        !entry.ParseFromString(field.length_delimited()))
      continue;
    std::string key;
    int64_t tokens = 0;
    for (int k = 0; k < entry.field_count(); ++k) {
      const UnknownField& part = entry.field(k);
      if (part.number() == 1 && part.type() == UnknownField::TYPE_LENGTH_DELIMITED)
        key = part.length_delimited();
      if (part.number() == 2 && part.type() == UnknownField::TYPE_VARINT)
        tokens = static_cast<int64_t>(part.varint());
    }
    if (key == id) return tokens;
  }
  return std::nullopt;
}

void CheckpointWithTokens(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::Checkpoint checkpoint;
  internal::JobLedger ledger;
  absl::Status status = Parse(Bytes(arguments[0]), &checkpoint);
  if (status.ok()) status = Parse(Bytes(arguments[2]), &ledger);
  if (const auto tokens = TokensOf(ledger, Bytes(arguments[1])); tokens.has_value())
    checkpoint.set_tokens(*tokens);
  Answer(context, status, checkpoint);
}

void LedgerWithoutTokens(sqlite3_context* context, int, sqlite3_value** arguments) {
  internal::JobLedger ledger;
  const absl::Status status = Parse(Bytes(arguments[0]), &ledger);
  ledger.GetReflection()->MutableUnknownFields(&ledger)->DeleteByNumber(kLedgerTokensNumber);
  Answer(context, status, ledger);
}

}  // namespace

absl::Status AddMessageFunctions(Connection& db) {
  RETURN_IF_ERROR(db.AddFunction("upgraded", 2, Upgraded));
  RETURN_IF_ERROR(db.AddFunction("checkpoint_with_tokens", 3, CheckpointWithTokens));
  return db.AddFunction("ledger_without_tokens", 1, LedgerWithoutTokens);
}

}  // namespace trainerd::server
