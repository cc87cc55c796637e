// SPDX-License-Identifier: Apache-2.0
// Block style, two spaces; lists of scalars in one line. Text is quoted unless every YAML reader
// reads it as text.
#include "proto/contract/job_file/message_to_yaml.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/base/plain_text.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Words that some YAML reader takes for something else than text.
bool IsReservedWord(const std::string& text) {
  static const std::set<std::string>& words =
      *new std::set<std::string>{"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  return words.count(absl::AsciiStrToLower(text)) > 0;
}

bool IsPlainText(const std::string& text) {
  constexpr size_t kMaxPlainBytes = 512;
  if (text.empty() || text.size() > kMaxPlainBytes || IsReservedWord(text)) return false;
  // A letter, / or ./ first: no number, no date, no indicator.
  const bool good_start = absl::ascii_isalpha(static_cast<unsigned char>(text[0])) ||
                          text[0] == '/' ||
                          (text[0] == '.' && text.size() > 1 && (text[1] == '/' || text[1] == '.'));
  return good_start && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' ||
                  c == '+';
         });
}

std::string QuotedText(const std::string& text) {
  // What escapes write holds neither a quote nor a backslash of the text.
  return absl::StrCat(
      "\"", EscapedText(absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}})), "\"");
}

std::string TextValue(const std::string& text) {
  return IsPlainText(text) ? text : QuotedText(text);
}

// A number in the form that YAML 1.1 reads as one (PyYAML takes 2e-05 for text): 2.0e-05.
std::string NumberValue(const std::string& text) {
  const size_t exponent = text.find('e');
  if (exponent == std::string::npos || text.find('.') != std::string::npos) return text;
  return absl::StrCat(text.substr(0, exponent), ".0", text.substr(exponent));
}

std::string ScalarValue(const Message& message, const FieldDescriptor& field, int index) {
  const std::string text = ScalarText(message, field, index);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
      field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
    return TextValue(text);
  // Without quotes, some YAML readers turn a timestamp into their own type.
  if (IsTimestampField(field)) return QuotedText(text);
  const bool real = field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ||
                    field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT;
  return real ? NumberValue(text) : text;
}

class Writer {
 public:
  explicit Writer(const std::vector<std::string>* given) : mark_defaults_(given != nullptr) {
    if (given != nullptr) given_.insert(given->begin(), given->end());
  }

  // `first_prefix` stands before the first key: spaces, or "- " for an element of a list.
  void WriteFields(const Message& message, const std::string& section, int indent,
                   std::string first_prefix) {
    const std::string prefix(indent, ' ');
    for (const FieldDescriptor* field : PresentFields(message)) {
      const std::string path = JoinPath(section, std::string(field->name()));
      absl::StrAppend(&out_, first_prefix, std::string(field->name()), ":");
      first_prefix = prefix;
      WriteValue(message, *field, path, indent);
    }
  }
  std::string Take() { return std::move(out_); }

 private:
  // Everything behind the colon, line end included.
  void WriteValue(const Message& message, const FieldDescriptor& field, const std::string& path,
                  int indent) {
    const Reflection& reflection = *message.GetReflection();
    if (field.is_map()) {
      WriteMap(message, field, path, indent);
    } else if (!IsScalarField(field)) {
      if (field.is_repeated()) {
        WriteList(message, field, path, indent);
      } else {
        WriteGroup(reflection.GetMessage(message, &field), path, indent);
      }
    } else if (field.is_repeated()) {
      std::string list;
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
        absl::StrAppend(&list, i == 0 ? "" : ", ", ScalarValue(message, field, i));
      }
      EndLine(absl::StrCat(" [", list, "]"), path);
    } else {
      EndLine(absl::StrCat(" ", ScalarValue(message, field, 0)), path);
    }
  }

  void WriteGroup(const Message& group, const std::string& path, int indent) {
    if (PresentFields(group).empty()) {
      out_ += " {}\n";
      return;
    }
    out_ += "\n";
    WriteFields(group, path, indent + 2, std::string(indent + 2, ' '));
  }

  void WriteList(const Message& message, const FieldDescriptor& field, const std::string& path,
                 int indent) {
    const Reflection& reflection = *message.GetReflection();
    out_ += "\n";
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      const Message& element = reflection.GetRepeatedMessage(message, &field, i);
      const size_t before = out_.size();
      WriteFields(element, absl::StrCat(path, "[", i, "]"), indent + 4,
                  std::string(indent + 2, ' ') + "- ");
      if (out_.size() == before) absl::StrAppend(&out_, std::string(indent + 2, ' '), "- {}\n");
    }
  }

  void WriteMap(const Message& message, const FieldDescriptor& field, const std::string& path,
                int indent) {
    const Reflection& reflection = *message.GetReflection();
    const FieldDescriptor& key_field = *field.message_type()->map_key();
    const FieldDescriptor& value_field = *field.message_type()->map_value();
    std::vector<std::pair<std::string, const Message*>> entries;
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
      entries.emplace_back(ScalarText(entry, key_field), &entry);
    }
    std::sort(entries.begin(), entries.end());
    out_ += "\n";
    for (const auto& [key, entry] : entries) {
      absl::StrAppend(&out_, std::string(indent + 2, ' '), TextValue(key), ":");
      WriteValue(*entry, value_field, JoinPath(path, key), indent + 2);
    }
  }

  void EndLine(const std::string& value, const std::string& path) {
    absl::StrAppend(&out_, value,
                    mark_defaults_ && given_.count(path) == 0 ? "  # default\n" : "\n");
  }

  const bool mark_defaults_;
  std::set<std::string> given_;
  std::string out_;
};

}  // namespace

std::string MessageToYaml(const Message& message, const std::vector<std::string>* given) {
  Writer writer(given);
  writer.WriteFields(message, "", /*indent=*/0, "");
  std::string yaml = writer.Take();
  return yaml.empty() ? "{}\n" : yaml;
}

}  // namespace trainerd
