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
#include "google/protobuf/util/json_util.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/field_upgrade.h"
#include "server/store/daemon_user.h"
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

void AnswerText(sqlite3_context* context, const absl::Status& status, const std::string& text) {
  const std::string answer = status.ok() ? text : std::string(status.message());
  const int size = static_cast<int>(answer.size());
  if (!status.ok()) return sqlite3_result_error(context, answer.c_str(), size);
  sqlite3_result_text(context, answer.c_str(), size, SQLITE_TRANSIENT);
}

void JobConfigName(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::Job job;
  const absl::Status status = Parse(Bytes(arguments[0]), &job);
  AnswerText(context, status, job.config().name());
}

void JobCreateTime(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::Job job;
  const absl::Status status = Parse(Bytes(arguments[0]), &job);
  if (!status.ok()) return AnswerText(context, status, "");
  sqlite3_result_int64(
      context, job.has_create_time() ? absl::ToUnixMicros(FromProto(job.create_time())) : 0);
}

void LabelsJson(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::Job job;
  absl::Status status = Parse(Bytes(arguments[0]), &job);
  v1::JobConfig config;
  config.mutable_labels()->swap(*job.mutable_config()->mutable_labels());
  std::string json;
  if (status.ok() && !config.labels().empty()) {
    status = google::protobuf::util::MessageToJsonString(config, &json).ok()
                 ? absl::OkStatus()
                 : absl::DataLossError("labels of a stored job have no JSON");
    // {"labels":{…}}
    json = json.substr(json.find('{', 1));
    json.pop_back();
  }
  AnswerText(context, status, json.empty() ? "{}" : json);
}

void OwnedByDaemon(sqlite3_context* context, int, sqlite3_value** arguments) {
  v1::Job job;
  const absl::Status status = Parse(Bytes(arguments[0]), &job);
  job.set_owner(DaemonUser());
  Answer(context, status, job);
}

void DaemonUserName(sqlite3_context* context, int, sqlite3_value**) {
  const std::string& user = DaemonUser();
  sqlite3_result_text(context, user.c_str(), static_cast<int>(user.size()), SQLITE_STATIC);
}

}  // namespace

absl::Status AddMessageFunctions(Connection& db) {
  RETURN_IF_ERROR(db.AddFunction("upgraded", 2, Upgraded));
  RETURN_IF_ERROR(db.AddFunction("checkpoint_with_tokens", 3, CheckpointWithTokens));
  RETURN_IF_ERROR(db.AddFunction("ledger_without_tokens", 1, LedgerWithoutTokens));
  RETURN_IF_ERROR(db.AddFunction("job_name", 1, JobConfigName));
  RETURN_IF_ERROR(db.AddFunction("job_create_time", 1, JobCreateTime));
  RETURN_IF_ERROR(db.AddFunction("labels_json", 1, LabelsJson));
  RETURN_IF_ERROR(db.AddFunction("owned_by_daemon", 1, OwnedByDaemon));
  return db.AddFunction("daemon_user", 0, DaemonUserName);
}

}  // namespace trainerd::server
