// SPDX-License-Identifier: Apache-2.0
// Compiled-in descriptors have no comments, so the build embeds a descriptor set with source
// information of the two configuration files.
#include "proto/contract/job_file/config_reference.h"

#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.pb.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/knob_rules.h"
#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {

// Made by proto/embed_file.cmake.
extern const unsigned char kConfigDescriptors[];
extern const unsigned long kConfigDescriptorsSize;

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr size_t kLineWidth = 100;

std::string OneLine(const std::string& comment) {
  std::string line = absl::StrReplaceAll(comment, {{"\n", " "}});
  absl::RemoveExtraAsciiWhitespace(&line);
  return line;
}

// Full name of a message or field → its comment.
std::map<std::string, std::string> ReadComments() {
  google::protobuf::FileDescriptorSet files;
  TRAINERD_CHECK(
      files.ParseFromArray(kConfigDescriptors, static_cast<int>(kConfigDescriptorsSize)));
  std::map<std::string, std::string> comments;
  for (const auto& file : files.file()) {
    for (const auto& location : file.source_code_info().location()) {
      // Paths of descriptor.proto: [4, i] is message i, [4, i, 2, k] its field k.
      const auto& path = location.path();
      const bool is_message =
          path.size() == 2 &&
          path[0] == google::protobuf::FileDescriptorProto::kMessageTypeFieldNumber;
      const bool is_field =
          path.size() == 4 &&
          path[0] == google::protobuf::FileDescriptorProto::kMessageTypeFieldNumber &&
          path[2] == google::protobuf::DescriptorProto::kFieldFieldNumber;
      if (!is_message && !is_field) continue;
      const auto& message = file.message_type(path[1]);
      std::string name = absl::StrCat(file.package(), ".", message.name());
      if (is_field) absl::StrAppend(&name, ".", message.field(path[3]).name());
      comments[name] = OneLine(location.leading_comments());
    }
  }
  return comments;
}

std::string CommentOfName(const std::string& full_name) {
  static const std::map<std::string, std::string>& comments =
      *new std::map<std::string, std::string>(ReadComments());
  const auto found = comments.find(full_name);
  return found == comments.end() ? "" : found->second;
}

std::string Wrapped(const std::string& text, const std::string& indent) {
  std::string wrapped;
  std::string line = indent;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (line.size() > indent.size() && line.size() + 1 + word.size() > kLineWidth) {
      absl::StrAppend(&wrapped, line, "\n");
      line = indent;
    }
    absl::StrAppend(&line, line.size() == indent.size() ? "" : " ", word);
  }
  return absl::StrCat(wrapped, line, "\n");
}

std::string KindText(const FieldDescriptor& field) {
  if (field.is_map()) return "labels {key: text}";
  const v1::Knob& knob = KnobOf(field);
  std::string kind = KindOfField(field);
  if (absl::StartsWith(kind, "a ")) kind = kind.substr(2);
  if (field.enum_type() != nullptr) {
    kind = absl::StrJoin(EnumTexts(*field.enum_type()), " | ");
  } else if (!knob.choices().empty()) {
    kind = absl::StrCat(absl::StrJoin(knob.choices(), " | "), " | …");
  } else if (knob.path()) {
    kind = "path";
  }
  return field.is_repeated() ? absl::StrCat("list of ", kind, "s") : kind;
}

// "default 0 (with type: muon 0.95)".
std::string DefaultText(const v1::Knob& knob) {
  std::string text = absl::StrCat("default ", knob.default_().empty() ? "\"\"" : knob.default_());
  for (const std::string& element : knob.default_with()) {
    const DefaultWith with = ParseDefaultWith(element);
    absl::StrAppend(&text, " (with ", absl::StrReplaceAll(with.condition, {{"=", ": "}}), " ",
                    with.value, ")");
  }
  return text;
}

// What a group's absence means, for its line.
std::string AbsenceText(const v1::Knob& knob) {
  if (!knob.only_with().empty()) return absl::StrCat(", only with ", ConditionText(knob));
  return knob.optional_group() ? ", absent unless given" : "";
}

// "data.max_length: whole number, 8 to 1048576 tokens, default 2048".
std::string HeadLine(const FieldDescriptor& field, const std::string& path) {
  const v1::Knob& knob = KnobOf(field);
  std::vector<std::string> parts = {KindText(field)};
  const std::string range = RangeText(field);
  if (!range.empty()) {
    parts.push_back(range);
  } else if (!knob.unit().empty()) {
    parts.push_back(knob.unit());
  }
  if (knob.required()) parts.push_back("required");
  if (knob.has_default_()) parts.push_back(DefaultText(knob));
  if (knob.live()) parts.push_back("live");
  if (!knob.only_with().empty()) parts.push_back(absl::StrCat("only with ", ConditionText(knob)));
  return absl::StrCat(path, ": ", absl::StrJoin(parts, ", "), "\n");
}

void AppendGroup(const Descriptor& group, const std::string& section, std::string* out) {
  for (int i = 0; i < group.field_count(); ++i) {
    const FieldDescriptor& field = *group.field(i);
    const std::string path = JoinPath(section, std::string(field.name()));
    if (field.is_map() || IsScalarField(field)) {
      absl::StrAppend(out, HeadLine(field, path), Wrapped(CommentOf(field), "    "));
      continue;
    }
    const std::string comment =
        CommentOf(field).empty() ? CommentOf(*field.message_type()) : CommentOf(field);
    const v1::Knob& knob = KnobOf(field);
    absl::StrAppend(
        out, "\n", path, field.is_repeated() ? ": list of groups of keys" : ": group of keys",
        knob.required() ? ", required" : "", AbsenceText(knob), "\n", Wrapped(comment, "    "));
    AppendGroup(*field.message_type(), field.is_repeated() ? path + "[N]" : path, out);
  }
}

}  // namespace

std::string CommentOf(const FieldDescriptor& field) {
  return CommentOfName(std::string(field.full_name()));
}

std::string CommentOf(const Descriptor& message) {
  return CommentOfName(std::string(message.full_name()));
}

std::string ConfigReference() {
  std::string out =
      "The job file (YAML). Relative paths are relative to the file; durations are written 300s, "
      "5m or 2h. What is live, `trainctl update` can change after the submit.\n\n";
  AppendGroup(*v1::JobConfig::descriptor(), "", &out);
  absl::StrAppend(&out, "\n", DaemonSettingsReference());
  return out;
}

std::string DaemonSettingsReference() {
  std::string out = "The daemon's settings (trainerd --config FILE, YAML).\n\n";
  AppendGroup(*v1::ServerConfig::descriptor(), "", &out);
  return out;
}

}  // namespace trainerd
