// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_paths.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void AddMapPaths(const Message& message, const FieldDescriptor& field, const std::string& path,
                 std::vector<std::string>* paths) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<std::string> keys;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    keys.push_back(absl::StrCat(path, ".", ScalarText(entry, *field.message_type()->map_key())));
  }
  // A map has no order of its own.
  std::sort(keys.begin(), keys.end());
  paths->insert(paths->end(), keys.begin(), keys.end());
}

void AddPaths(const Message& message, const std::string& section, std::vector<std::string>* paths) {
  const Reflection& reflection = *message.GetReflection();
  for (const FieldDescriptor* field : PresentFields(message)) {
    const std::string path = JoinPath(section, std::string(field->name()));
    if (field->is_map()) {
      AddMapPaths(message, *field, path, paths);
    } else if (IsScalarField(*field)) {
      paths->push_back(path);
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        AddPaths(reflection.GetRepeatedMessage(message, field, i), absl::StrCat(path, "[", i, "]"),
                 paths);
      }
    } else {
      AddPaths(reflection.GetMessage(message, field), path, paths);
    }
  }
}

std::string Absolute(const std::string& folder, const std::string& home, const std::string& path) {
  const bool is_at_home = !home.empty() && absl::StartsWith(path, "~/");
  const std::filesystem::path joined = is_at_home ? std::filesystem::path(home) / path.substr(2)
                                                  : std::filesystem::path(folder) / path;
  std::string absolute = joined.lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

bool IsPath(const FieldDescriptor& field, const std::string& value) {
  const v1::Knob& knob = KnobOf(field);
  if (value.empty()) return false;
  if (knob.path())
    return std::find(knob.choices().begin(), knob.choices().end(), value) == knob.choices().end();
  return knob.path_if_dotted() &&
         (absl::StartsWith(value, "./") || absl::StartsWith(value, "../") ||
          absl::StartsWith(value, "~/") || absl::StartsWith(value, "/"));
}

void VisitField(Message* message, const FieldDescriptor& field, const std::string& path,
                const PathVisitor& visit) {
  const Reflection& reflection = *message->GetReflection();
  if (!field.is_repeated()) {
    std::string value = reflection.GetString(*message, &field);
    if (!IsPath(field, value)) return;
    visit(path, &value);
    reflection.SetString(message, &field, std::move(value));
    return;
  }
  for (int i = 0; i < reflection.FieldSize(*message, &field); ++i) {
    std::string value = reflection.GetRepeatedString(*message, &field, i);
    if (!IsPath(field, value)) continue;
    visit(absl::StrCat(path, "[", i, "]"), &value);
    reflection.SetRepeatedString(message, &field, i, std::move(value));
  }
}

void VisitPaths(Message* message, const std::string& section, const PathVisitor& visit) {
  const Reflection& reflection = *message->GetReflection();
  for (const FieldDescriptor* field : PresentFields(*message)) {
    if (field->is_map()) continue;
    const std::string path = JoinPath(section, std::string(field->name()));
    if (IsScalarField(*field)) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING)
        VisitField(message, *field, path, visit);
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
        VisitPaths(reflection.MutableRepeatedMessage(message, field, i),
                   absl::StrCat(path, "[", i, "]"), visit);
      }
    } else {
      VisitPaths(reflection.MutableMessage(message, field), path, visit);
    }
  }
}

}  // namespace

const v1::Knob& KnobOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::knob);
}

std::string JoinPath(const std::string& section, const std::string& key) {
  return section.empty() ? key : absl::StrCat(section, ".", key);
}

std::vector<const FieldDescriptor*> PresentFields(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  // ListFields orders by number.
  std::sort(fields.begin(), fields.end(),
            [](const auto* a, const auto* b) { return a->index() < b->index(); });
  return fields;
}

std::vector<std::string> FieldPaths(const Message& message) {
  std::vector<std::string> paths;
  AddPaths(message, "", &paths);
  return paths;
}

void ForEachPath(Message* message, const PathVisitor& visit) { VisitPaths(message, "", visit); }

void MakePathsAbsolute(const std::string& folder, Message* message, const std::string& home) {
  ForEachPath(message, [&](const std::string&, std::string* value) {
    *value = Absolute(folder, home, *value);
  });
}

void NormalizeAbsolutePaths(Message* message) {
  ForEachPath(message, [](const std::string&, std::string* value) {
    if (absl::StartsWith(*value, "/")) *value = Absolute("/", "", *value);
  });
}

}  // namespace trainerd
