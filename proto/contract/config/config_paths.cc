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

bool IsPath(const FieldDescriptor& field, const std::string& value) {
  const v1::Knob& knob = KnobOf(field);
  if (value.empty()) return false;
  if (knob.path())
    return std::find(knob.choices().begin(), knob.choices().end(), value) == knob.choices().end();
  return knob.path_if_dotted() &&
         (absl::StartsWith(value, "./") || absl::StartsWith(value, "../") ||
          absl::StartsWith(value, "~/") || absl::StartsWith(value, "/"));
}

void VisitTexts(const Message& message, const KeyPath& section,
                const std::function<void(const TextPlace&)>& visit) {
  const Reflection& reflection = *message.GetReflection();
  for (const FieldDescriptor* field : PresentFields(message)) {
    const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    if (field->is_map() || (!is_text && IsScalarField(*field))) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const KeyPath path{&section, field->name(), field->is_repeated() ? i : -1};
      if (is_text) {
        visit({message, *field, path});
      } else if (field->is_repeated()) {
        VisitTexts(reflection.GetRepeatedMessage(message, field, i), path, visit);
      } else {
        VisitTexts(reflection.GetMessage(message, field), path, visit);
      }
    }
  }
}

void VisitPaths(const Message& message,
                const std::function<void(const TextPlace&, const std::string& value)>& visit) {
  ForEachText(message, [&](const TextPlace& place) {
    std::string scratch;
    const std::string& value = place.Value(&scratch);
    if (IsPath(place.field, value)) visit(place, value);
  });
}

// Whether the value is an upload, and the field can be one.
bool IsUpload(const FieldDescriptor& field, const std::string& value) {
  return KnobOf(field).upload() && ParseUploadPath(value).has_value();
}

// Replaces each path of `message` by what `change` returns for it.
void ChangePaths(
    Message* message,
    const std::function<std::string(const FieldDescriptor&, const std::string&)>& change) {
  VisitPaths(*message, [&](const TextPlace& place, const std::string& value) {
    std::string changed = change(place.field, value);
    if (changed == value) return;
    // The walk does not change the message, but this is one of its groups.
    Message* group = const_cast<Message*>(&place.group);
    const Reflection& reflection = *group->GetReflection();
    if (place.field.is_repeated()) {
      reflection.SetRepeatedString(group, &place.field, place.path.index, std::move(changed));
    } else {
      reflection.SetString(group, &place.field, std::move(changed));
    }
  });
}

}  // namespace

const v1::Knob& KnobOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::knob);
}

std::string JoinPath(const std::string& section, const std::string& key) {
  return section.empty() ? key : absl::StrCat(section, ".", key);
}

std::string KeyPath::Text() const {
  std::string text = section == nullptr ? "" : section->Text();
  if (!key.empty()) text.append(text.empty() ? "" : ".").append(key);
  if (index >= 0) absl::StrAppend(&text, "[", index, "]");
  return text;
}

const std::string& TextPlace::Value(std::string* scratch) const {
  const Reflection& reflection = *group.GetReflection();
  return field.is_repeated()
             ? reflection.GetRepeatedStringReference(group, &field, path.index, scratch)
             : reflection.GetStringReference(group, &field, scratch);
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

void ForEachText(const Message& message, const std::function<void(const TextPlace&)>& visit) {
  VisitTexts(message, KeyPath(), visit);
}

void ForEachPath(const Message& message, const PathVisitor& visit) {
  VisitPaths(message, [&](const TextPlace& place, const std::string& value) {
    visit(place.path.Text(), value);
  });
}

std::string AbsolutePath(const std::string& folder, const std::string& path,
                         const std::string& home) {
  const bool is_at_home = !home.empty() && absl::StartsWith(path, "~/");
  const std::filesystem::path joined = is_at_home ? std::filesystem::path(home) / path.substr(2)
                                                  : std::filesystem::path(folder) / path;
  std::string absolute = joined.lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

void MakePathsAbsolute(const std::string& folder, Message* message, const std::string& home) {
  ChangePaths(message, [&](const FieldDescriptor& field, const std::string& value) {
    return IsUpload(field, value) ? value : AbsolutePath(folder, value, home);
  });
}

void ReplaceUploads(Message* message,
                    const std::function<std::string(const UploadPath& upload)>& change) {
  ChangePaths(message, [&](const FieldDescriptor& field, const std::string& value) {
    return IsUpload(field, value) ? change(*ParseUploadPath(value)) : value;
  });
}

void ReplaceFiles(Message* message,
                  const std::function<std::string(const std::string& path)>& change) {
  ChangePaths(message, [&](const FieldDescriptor& field, const std::string& value) {
    return KnobOf(field).upload() && !IsUpload(field, value) ? change(value) : value;
  });
}

void NormalizeAbsolutePaths(Message* message) {
  ChangePaths(message, [](const FieldDescriptor&, const std::string& value) {
    return absl::StartsWith(value, "/") ? AbsolutePath("/", value) : value;
  });
}

}  // namespace trainerd
