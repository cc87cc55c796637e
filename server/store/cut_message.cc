// SPDX-License-Identifier: Apache-2.0
#include "server/store/cut_message.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace trainerd::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

struct CutLimits {
  size_t text_bytes;
  int entries;
};
// Tried in this order.
constexpr CutLimits kLimits[] = {{64 << 10, 1000}, {16 << 10, 1000}, {16 << 10, 256},
                                 {4 << 10, 256},   {4 << 10, 64},    {1 << 10, 64},
                                 {256, 16},        {128, 4}};

std::string CutText(const std::string& text, size_t max_bytes) {
  const std::string mark = absl::StrCat("… [cut, it had ", text.size(), " bytes]");
  size_t size = max_bytes > mark.size() ? max_bytes - mark.size() : 0;
  // Not inside a character.
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size) + mark;
}

void CutAll(const CutLimits& limits, Message* message);

void CutList(const CutLimits& limits, const FieldDescriptor& field, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  const int size = reflection.FieldSize(*message, &field);
  for (int i = size; i > limits.entries; --i) reflection.RemoveLast(message, &field);
  if (size > limits.entries && field.type() == FieldDescriptor::TYPE_STRING) {
    reflection.SetRepeatedString(message, &field, limits.entries - 1,
                                 absl::StrCat("… [", size - limits.entries + 1, " more]"));
  }
  for (int i = 0; i < reflection.FieldSize(*message, &field); ++i) {
    if (field.message_type() != nullptr) {
      CutAll(limits, reflection.MutableRepeatedMessage(message, &field, i));
    } else if (field.type() == FieldDescriptor::TYPE_STRING) {
      const std::string text = reflection.GetRepeatedString(*message, &field, i);
      if (text.size() > limits.text_bytes)
        reflection.SetRepeatedString(message, &field, i, CutText(text, limits.text_bytes));
    }
  }
}

void CutAll(const CutLimits& limits, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  reflection.MutableUnknownFields(message)->Clear();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      CutList(limits, *field, message);
    } else if (field->message_type() != nullptr) {
      CutAll(limits, reflection.MutableMessage(message, field));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      std::string text = reflection.GetString(*message, field);
      if (text.size() <= limits.text_bytes) continue;
      reflection.SetString(message, field,
                           field->type() == FieldDescriptor::TYPE_STRING
                               ? CutText(text, limits.text_bytes)
                               : text.substr(0, limits.text_bytes));
    }
  }
}

}  // namespace

void CutMessage(size_t max_bytes, Message* message) {
  for (const CutLimits& limits : kLimits) {
    if (message->ByteSizeLong() <= max_bytes) return;
    CutAll(limits, message);
  }
}

}  // namespace trainerd::server
