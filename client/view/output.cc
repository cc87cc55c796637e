// SPDX-License-Identifier: Apache-2.0
#include "client/view/output.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/view/text_width.h"
#include "google/protobuf/descriptor.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/json_output.h"

namespace trainerd::client {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Shortest decimal form that reads back as the same number.
template <typename Number>
std::string ShortestNumber(Number value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  return FormatShortest(value);
}

// A double-quoted YAML scalar; JSON's escapes are valid in it.
std::string Quoted(const std::string& text) {
  std::string result = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += static_cast<char>(c);
    } else if (c == '\n') {
      result += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      result += {'\\', 'x', kHex[c >> 4], kHex[c & 15]};
    } else {
      result += static_cast<char>(c);
    }
  }
  return result + "\"";
}

bool IsScalarMessage(const Descriptor* type) {
  return type->full_name() == "google.protobuf.Timestamp" ||
         type->full_name() == "google.protobuf.Duration";
}

std::string Scalar(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* reflection = message.GetReflection();
  const bool repeated = field->is_repeated();
#define TRAINERD_GET(Kind)                                         \
  (repeated ? reflection->GetRepeated##Kind(message, field, index) \
            : reflection->Get##Kind(message, field))
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(TRAINERD_GET(Int32));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(TRAINERD_GET(Int64));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(TRAINERD_GET(UInt32));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(TRAINERD_GET(UInt64));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return ShortestNumber(TRAINERD_GET(Float));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return ShortestNumber(TRAINERD_GET(Double));
    case FieldDescriptor::CPPTYPE_BOOL:
      return TRAINERD_GET(Bool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return TRAINERD_GET(Enum)->name();
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = TRAINERD_GET(String);
      return Quoted(field->type() == FieldDescriptor::TYPE_BYTES ? ToHex(text) : text);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageToJsonLine(TRAINERD_GET(Message));
  }
#undef TRAINERD_GET
  return "";
}

void AppendFields(const Message& message, int indent, bool after_dash, std::string* out);

void AppendField(const Message& message, const FieldDescriptor* field, const std::string& margin,
                 int indent, std::string* out) {
  const Reflection* reflection = message.GetReflection();
  const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                      !IsScalarMessage(field->message_type());
  absl::StrAppend(out, margin, std::string(field->name()), ":");
  if (field->is_map()) {
    out->append("\n");
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      const Message& entry = reflection->GetRepeatedMessage(message, field, i);
      const FieldDescriptor* key = entry.GetDescriptor()->map_key();
      const FieldDescriptor* value = entry.GetDescriptor()->map_value();
      absl::StrAppend(out, std::string(indent + 2, ' '), Scalar(entry, key, 0), ": ",
                      Scalar(entry, value, 0), "\n");
    }
  } else if (field->is_repeated()) {
    out->append("\n");
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      absl::StrAppend(out, std::string(indent, ' '), "- ");
      if (nested) {
        AppendFields(reflection->GetRepeatedMessage(message, field, i), indent + 2,
                     /*after_dash=*/true, out);
      } else {
        absl::StrAppend(out, Scalar(message, field, i), "\n");
      }
    }
  } else if (nested) {
    out->append("\n");
    AppendFields(reflection->GetMessage(message, field), indent + 2, /*after_dash=*/false, out);
  } else {
    absl::StrAppend(out, " ", Scalar(message, field, 0), "\n");
  }
}

void AppendFields(const Message& message, int indent, bool after_dash, std::string* out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  if (fields.empty()) {
    absl::StrAppend(out, after_dash ? "" : std::string(indent, ' '), "{}\n");
    return;
  }
  for (const FieldDescriptor* field : fields) {
    AppendField(message, field, after_dash ? "" : std::string(indent, ' '), indent, out);
    after_dash = false;
  }
}

}  // namespace

void Table::Print(std::ostream& out, int columns, bool utf8) const {
  std::vector<int> widths;
  const auto measure = [&widths](const std::vector<std::string>& cells) {
    widths.resize(std::max(widths.size(), cells.size()), 0);
    for (size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], DisplayWidth(cells[i]));
  };
  measure(header_);
  for (const auto& row : rows_) measure(row);
  const auto print = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      line += i + 1 < cells.size() ? PadRight(cells[i], widths[i] + 2) : cells[i];
    }
    out << (columns > 0 ? FitWidth(line, columns, utf8) : line) << "\n";
  };
  print(header_);
  for (const auto& row : rows_) print(row);
}

std::string AnyMessageToYaml(const Message& message) {
  std::string text;
  AppendFields(message, 0, /*after_dash=*/false, &text);
  return text;
}

void PrintMessage(const Message& message, OutputForm form, std::ostream& out) {
  switch (form) {
    case OutputForm::kJson:
      out << MessageToJsonPretty(message);
      break;
    case OutputForm::kYaml:
      out << AnyMessageToYaml(message);
      out.flush();
      return;
    case OutputForm::kTable:
    case OutputForm::kWide:
    case OutputForm::kJsonl:
      out << MessageToJsonLine(message);
      break;
  }
  out << "\n";
  out.flush();
}

}  // namespace trainerd::client
