// SPDX-License-Identifier: Apache-2.0
// A word is the name of a value in lower case, without the prefix that the names of its enum share:
// that of X_UNSPECIFIED.
#include "proto/contract/config/enum_words.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "proto/contract/config/advice/nearest_word.h"
#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/role.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;

bool HasWords(const EnumDescriptor& type) {
  return type.file() == v1::JobConfig::descriptor()->file() ||
         type.file() == v1::ServerConfig::descriptor()->file() ||
         type.file() == v1::Role_descriptor()->file();
}

}  // namespace

std::string EnumText(const EnumValueDescriptor& value) {
  const EnumDescriptor& type = *value.type();
  if (!HasWords(type)) return std::string(value.name());
  if (value.number() == 0) return "";
  const absl::string_view prefix =
      absl::StripSuffix(type.FindValueByNumber(0)->name(), "UNSPECIFIED");
  return absl::AsciiStrToLower(absl::StripPrefix(value.name(), prefix));
}

std::string EnumText(const EnumDescriptor& type, int number) {
  const EnumValueDescriptor* value = type.FindValueByNumber(number);
  return value == nullptr ? absl::StrCat(number) : EnumText(*value);
}

const EnumValueDescriptor* FindEnumText(const EnumDescriptor& type, std::string_view text) {
  if (text.empty()) return nullptr;
  for (int i = 0; i < type.value_count(); ++i) {
    if (EnumText(*type.value(i)) == text) return type.value(i);
  }
  return nullptr;
}

std::vector<std::string> EnumTexts(const EnumDescriptor& type) {
  std::vector<std::string> texts;
  for (int i = 0; i < type.value_count(); ++i) {
    std::string text = EnumText(*type.value(i));
    if (!text.empty()) texts.push_back(std::move(text));
  }
  return texts;
}

std::string NoSuchEnumText(const EnumDescriptor& type, const std::string& text) {
  const std::vector<std::string> texts = EnumTexts(type);
  const std::string nearest = NearestWord(text, texts);
  return absl::StrCat(Quoted(text), " is not one of ", absl::StrJoin(texts, ", "),
                      nearest.empty() ? "" : absl::StrCat("; did you mean \"", nearest, "\"?"));
}

}  // namespace trainerd
