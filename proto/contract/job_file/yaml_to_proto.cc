// SPDX-License-Identifier: Apache-2.0
// The only file that knows yaml-cpp, and the only place of this folder where an exception is
// caught.
#include "proto/contract/job_file/yaml_to_proto.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/job_file/unknown_key.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kMaxYamlBytes = 4 << 20;
constexpr int kMaxDepth = 32;
constexpr int kMaxValues = 100000;
constexpr size_t kMaxViolations = 100;

std::string KindOfNode(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      return "a group of keys";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Scalar:
      return Quoted(node.Scalar());
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined:
      break;
  }
  return "nothing";
}

// The `path` field of a message that has a short form, else null.
const FieldDescriptor* ShortFormField(const FieldDescriptor& field) {
  if (!field.is_repeated() || field.is_map() || field.message_type() == nullptr) return nullptr;
  const FieldDescriptor* path = field.message_type()->FindFieldByName("path");
  return path != nullptr && path->cpp_type() == FieldDescriptor::CPPTYPE_STRING ? path : nullptr;
}

// "; write for example model: {path: …}" for the section `path`, and what a job file holds for a
// file that is something else; "" for other messages.
std::string GroupExample(const std::string& path, const Descriptor& descriptor) {
  if (path.empty() && descriptor.full_name() == "trainerd.v1.JobConfig") {
    return "; a job file holds keys such as model: {path: …}, and names data files in data.train";
  }
  if (path.empty() || path.back() == ']' || descriptor.field_count() == 0) return "";
  return absl::StrCat("; write for example ", path.substr(path.rfind('.') + 1), ": {",
                      std::string(descriptor.field(0)->name()), ": …}");
}

TextStyle StyleOf(const YAML::Node& node) {
  // "?" = plain; quoted and block texts carry "!", as does an explicit tag like !!str its own.
  return node.Tag().empty() || node.Tag() == "?" ? TextStyle::kPlain : TextStyle::kQuoted;
}

// Walks nodes and message together. One walk; faults go into the result.
class NodeReader {
 public:
  NodeReader(const Descriptor& root, bool with_lines, YamlResult* result)
      : root_(root), with_lines_(with_lines), result_(*result) {}

  void Fault(const YAML::Node* node, const std::string& path, std::string message) {
    if (result_.violations.size() > kMaxViolations) return;
    if (result_.violations.size() == kMaxViolations)
      message = "too many violations; the rest is omitted";
    result_.violations.push_back({path, std::move(message), node == nullptr ? 0 : LineOf(*node)});
  }

  void ReportUnknown(const UnknownKey& unknown, const YAML::Node* node) {
    // The valid keys of a section are listed once.
    const bool list_keys = listed_.count(unknown.section_path) == 0;
    bool listed = false;
    const std::string message = UnknownKeyMessage(unknown, list_keys, &listed);
    if (listed) listed_.insert(unknown.section_path);
    Fault(node, JoinPath(unknown.section_path, unknown.key), message);
  }

  void ReadGroup(const YAML::Node& node, const std::string& path, int depth, Message* message) {
    if (!Enter(node, path, depth) || node.IsNull()) return;
    if (!node.IsMap()) {
      Fault(&node, path,
            absl::StrCat("expected a group of keys, found ", KindOfNode(node),
                         GroupExample(path, *message->GetDescriptor())));
      return;
    }
    std::set<std::string> seen;
    for (const auto& pair : node) {
      std::string key;
      if (!ReadKey(pair.first, path, &seen, &key)) continue;
      const Descriptor& descriptor = *message->GetDescriptor();
      const FieldDescriptor* field = descriptor.FindFieldByName(key);
      const std::string field_path = JoinPath(path, key);
      if (field == nullptr) {
        ReportUnknown({key, descriptor, path, root_}, &pair.first);
        continue;
      }
      Remember(pair.first, field_path);
      ReadField(*field, pair.second, field_path, depth + 1, message);
    }
  }

  void ReadField(const FieldDescriptor& field, const YAML::Node& node, const std::string& path,
                 int depth, Message* message) {
    if (field.is_map()) {
      ReadMap(field, node, path, depth, message);
    } else if (field.is_repeated()) {
      ReadList(field, node, path, depth, message);
    } else if (IsScalarField(field)) {
      if (ReadScalar(field, node, path, message)) result_.given.push_back(path);
    } else if (!node.IsNull()) {
      ReadGroup(node, path, depth, message->GetReflection()->MutableMessage(message, &field));
    }
  }

 private:
  int LineOf(const YAML::Node& node) const {
    return with_lines_ && node.Mark().line >= 0 ? node.Mark().line + 1 : 0;
  }

  void Remember(const YAML::Node& node, const std::string& path) {
    if (with_lines_) result_.lines.emplace(path, LineOf(node));
  }

  // Counts a value against the limits; false when one is exceeded.
  bool Enter(const YAML::Node& node, const std::string& path, int depth) {
    if (depth > kMaxDepth) {
      Fault(&node, path, absl::StrCat("is nested more than ", kMaxDepth, " levels deep"));
      return false;
    }
    if (++values_ == kMaxValues)
      Fault(
          &node, path,
          absl::StrCat("the file has more than ", kMaxValues, " values (aliases count each time)"));
    return values_ < kMaxValues;
  }

  bool ReadKey(const YAML::Node& node, const std::string& section, std::set<std::string>* seen,
               std::string* key) {
    if (!node.IsScalar()) {
      Fault(&node, section, "a key must be plain text");
      return false;
    }
    *key = node.Scalar();
    if (seen->insert(*key).second) return true;
    Fault(&node, JoinPath(section, *key),
          absl::StrCat("duplicate key ", Quoted(*key), "; keep one of them"));
    return false;
  }

  bool ReadScalar(const FieldDescriptor& field, const YAML::Node& node, const std::string& path,
                  Message* message) {
    if (!Enter(node, path, /*depth=*/0)) return false;
    if (node.IsNull()) {
      Fault(&node, path,
            absl::StrCat("has no value, expected ", KindOfField(field),
                         "; leave the key out for its default"));
      return false;
    }
    if (!node.IsScalar()) {
      Fault(&node, path,
            absl::StrCat("expected ", KindOfField(field), ", found ", KindOfNode(node)));
      return false;
    }
    const absl::Status status = SetScalar(field, node.Scalar(), StyleOf(node), message);
    if (!status.ok()) Fault(&node, path, std::string(status.message()));
    return status.ok();
  }

  void ReadList(const FieldDescriptor& field, const YAML::Node& node, const std::string& path,
                int depth, Message* message) {
    if (!Enter(node, path, depth)) return;
    message->GetReflection()->ClearField(message, &field);
    const bool scalars = IsScalarField(field);
    if (!node.IsSequence()) {
      ReadElement(field, node, path, scalars ? path : path + "[0]", depth, message);
    } else {
      int index = 0;
      for (const YAML::Node& element : node) {
        ReadElement(field, element, path, absl::StrCat(path, "[", index++, "]"), depth + 1,
                    message);
      }
    }
    if (scalars && message->GetReflection()->FieldSize(*message, &field) > 0)
      result_.given.push_back(path);
  }

  void ReadElement(const FieldDescriptor& field, const YAML::Node& node, const std::string& list,
                   const std::string& path, int depth, Message* message) {
    Remember(node, path);
    if (IsScalarField(field)) {
      ReadScalar(field, node, path, message);
      return;
    }
    const FieldDescriptor* short_form = ShortFormField(field);
    if (node.IsNull() || (!node.IsMap() && !(short_form != nullptr && node.IsScalar()))) {
      Fault(&node, path,
            absl::StrCat("expected ", short_form != nullptr ? "a path or " : "",
                         "a group of keys in ", list, ", found ", KindOfNode(node)));
      return;
    }
    Message* element = message->GetReflection()->AddMessage(message, &field);
    if (node.IsMap()) {
      ReadGroup(node, path, depth, element);
    } else {
      const std::string field_path = JoinPath(path, std::string(short_form->name()));
      Remember(node, field_path);
      ReadField(*short_form, node, field_path, depth + 1, element);
    }
  }

  void ReadMap(const FieldDescriptor& field, const YAML::Node& node, const std::string& path,
               int depth, Message* message) {
    if (!Enter(node, path, depth) || node.IsNull()) return;
    if (!node.IsMap()) {
      Fault(&node, path, absl::StrCat("expected a group of keys, found ", KindOfNode(node)));
      return;
    }
    const Reflection& reflection = *message->GetReflection();
    reflection.ClearField(message, &field);
    std::set<std::string> seen;
    for (const auto& pair : node) {
      std::string key;
      if (!ReadKey(pair.first, path, &seen, &key)) continue;
      const std::string entry_path = JoinPath(path, key);
      Remember(pair.first, entry_path);
      ReadMapEntry(field, key, pair.first, pair.second, entry_path, depth + 1, message);
    }
  }

  void ReadMapEntry(const FieldDescriptor& field, const std::string& key,
                    const YAML::Node& key_node, const YAML::Node& value, const std::string& path,
                    int depth, Message* message) {
    const Reflection& reflection = *message->GetReflection();
    const size_t faults = result_.violations.size();
    Message* entry = reflection.AddMessage(message, &field);
    const absl::Status status =
        SetScalar(*field.message_type()->map_key(), key, TextStyle::kPlain, entry);
    if (!status.ok()) Fault(&key_node, path, std::string(status.message()));
    ReadField(*field.message_type()->map_value(), value, path, depth, entry);
    if (result_.violations.size() > faults) reflection.RemoveLast(message, &field);
  }

  const Descriptor& root_;
  const bool with_lines_;
  YamlResult& result_;
  // Sections whose keys a violation lists.
  std::set<std::string> listed_;
  int values_ = 0;
};

// What to check in a text that is not YAML: a whole file, or the value of --set.
std::string YamlAdvice(std::string_view yaml, bool is_file) {
  if (!is_file) return "write a value with spaces or brackets as '\"text\"'";
  if (yaml.find('\t') != std::string_view::npos) return "indent with spaces, not with tabs";
  return "check the indentation, the space behind each colon, closing brackets and quotes, and "
         "quote texts that contain \": \" or \"#\"";
}

// The one document of `yaml`; nullopt with a violation when it cannot be read.
std::optional<YAML::Node> Parse(std::string_view yaml, const std::string& path,
                                YamlResult* result) {
  if (yaml.size() > kMaxYamlBytes) {
    result->violations.push_back(
        {path,
         absl::StrCat("the file has ", yaml.size(), " bytes, more than ", kMaxYamlBytes, " bytes"),
         0});
    return std::nullopt;
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.empty()) return YAML::Node(YAML::NodeType::Null);
    if (documents.size() == 1) return documents[0];
    result->violations.push_back(
        {path,
         absl::StrCat("the file has ", documents.size(),
                      " documents, expected one; a job file has no --- lines, and data files "
                      "(JSON Lines) are named in data.train of a job file"),
         documents[1].Mark().line + 1});
  } catch (const YAML::Exception& error) {
    result->violations.push_back(
        {path,
         absl::StrCat("cannot be read as YAML: ", error.msg, "; ", YamlAdvice(yaml, path.empty())),
         error.mark.is_null() ? 0 : error.mark.line + 1});
  }
  return std::nullopt;
}

// One step of a path: "train", with index 0 for "train[0]".
struct PathStep {
  std::string key;
  std::optional<int> index;
};

std::optional<PathStep> ParseStep(const std::string& text) {
  PathStep step{text, std::nullopt};
  const size_t bracket = text.find('[');
  if (bracket == std::string::npos) return step;
  int index = 0;
  const bool good = text.back() == ']' &&
                    absl::SimpleAtoi(text.substr(bracket + 1, text.size() - bracket - 2), &index) &&
                    index >= 0;
  if (!good) return std::nullopt;
  return PathStep{text.substr(0, bracket), index};
}

class FieldSetter {
 public:
  FieldSetter(const std::string& path, const std::string& value, YamlResult* result)
      : path_(path), value_(value), result_(*result) {}

  void Set(Message* root) {
    NodeReader reader(*root->GetDescriptor(), /*with_lines=*/false, &result_);
    Message* message = root;
    std::string section;
    std::string rest = path_;
    while (true) {
      const size_t dot = rest.find('.');
      const std::optional<PathStep> step = ParseStep(rest.substr(0, dot));
      rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
      if (!step.has_value() || step->key.empty())
        return reader.Fault(nullptr, path_, "is not a dotted path such as train.max_steps");
      const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(step->key);
      if (field == nullptr) {
        return reader.ReportUnknown(
            {step->key, *message->GetDescriptor(), section, *root->GetDescriptor()},
            /*node=*/nullptr);
      }
      section = JoinPath(section, step->key);
      if (field->is_map() && !rest.empty())
        return SetMapEntry(*field, rest, section + "." + rest, message);
      if (rest.empty() && !step->index.has_value())
        return SetValue(*field, section, &reader, message);
      message = Descend(*field, step->index, !rest.empty(), &section, &reader, message);
      if (message == nullptr) return;
      if (rest.empty()) return SetGroup(section, &reader, message);
    }
  }

 private:
  // Into a group, or into an element of a list of groups (one may be appended at the end).
  Message* Descend(const FieldDescriptor& field, const std::optional<int>& index, bool more,
                   std::string* section, NodeReader* reader, Message* message) {
    const Reflection& reflection = *message->GetReflection();
    if (IsScalarField(field) || field.is_map()) {
      reader->Fault(nullptr, path_,
                    absl::StrCat(*section, field.is_repeated() ? " is set as a whole"
                                                               : " has no keys below it"));
      return nullptr;
    }
    if (field.is_repeated() != index.has_value()) {
      reader->Fault(nullptr, path_,
                    absl::StrCat(*section, field.is_repeated()
                                               ? " is a list: say which element, [0] for the first"
                                               : " is not a list"));
      return nullptr;
    }
    if (!index.has_value()) return reflection.MutableMessage(message, &field);
    const int size = reflection.FieldSize(*message, &field);
    if (*index > size) {
      reader->Fault(
          nullptr, path_,
          absl::StrCat(*section, " has ", size, " elements, so [", *index, "] is beyond its end"));
      return nullptr;
    }
    absl::StrAppend(section, "[", *index, "]");
    return *index < size ? reflection.MutableRepeatedMessage(message, &field, *index)
                         : reflection.AddMessage(message, &field);
  }

  void SetValue(const FieldDescriptor& field, const std::string& path, NodeReader* reader,
                Message* message) {
    const bool one_text =
        !field.is_repeated() && (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
                                 field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM);
    if (one_text && !absl::StartsWith(value_, "\"") && !absl::StartsWith(value_, "'")) {
      const absl::Status status = SetScalar(field, value_, TextStyle::kQuoted, message);
      if (!status.ok()) return reader->Fault(nullptr, path, std::string(status.message()));
      result_.given.push_back(path);
      return;
    }
    const std::optional<YAML::Node> node = Parse(value_, path, &result_);
    if (node.has_value()) reader->ReadField(field, *node, path, /*depth=*/1, message);
  }

  void SetGroup(const std::string& path, NodeReader* reader, Message* message) {
    const std::optional<YAML::Node> node = Parse(value_, path, &result_);
    if (node.has_value()) reader->ReadGroup(*node, path, /*depth=*/1, message);
  }

  void SetMapEntry(const FieldDescriptor& field, const std::string& key, const std::string& path,
                   Message* message) {
    const Reflection& reflection = *message->GetReflection();
    const FieldDescriptor& key_field = *field.message_type()->map_key();
    for (int i = reflection.FieldSize(*message, &field) - 1; i >= 0; --i) {
      if (ScalarText(reflection.GetRepeatedMessage(*message, &field, i), key_field) != key)
        continue;
      reflection.SwapElements(message, &field, i, reflection.FieldSize(*message, &field) - 1);
      reflection.RemoveLast(message, &field);
    }
    Message* entry = reflection.AddMessage(message, &field);
    NodeReader reader(*message->GetDescriptor(), /*with_lines=*/false, &result_);
    const size_t faults = result_.violations.size();
    const absl::Status status = SetScalar(key_field, key, TextStyle::kPlain, entry);
    if (!status.ok()) reader.Fault(nullptr, path, std::string(status.message()));
    SetValue(*field.message_type()->map_value(), path, &reader, entry);
    if (result_.violations.size() > faults) reflection.RemoveLast(message, &field);
  }

  const std::string path_;
  const std::string value_;
  YamlResult& result_;
};

}  // namespace

YamlResult YamlToMessage(std::string_view yaml, Message* message) {
  YamlResult result;
  const std::optional<YAML::Node> node = Parse(yaml, "", &result);
  if (!node.has_value()) return result;
  NodeReader reader(*message->GetDescriptor(), /*with_lines=*/true, &result);
  reader.ReadGroup(*node, "", /*depth=*/1, message);
  return result;
}

YamlResult SetField(std::string_view path, std::string_view yaml_value, Message* message) {
  YamlResult result;
  FieldSetter(std::string(path), std::string(yaml_value), &result).Set(message);
  // A line of the value is no line of any file.
  for (ConfigViolation& violation : result.violations) violation.line = 0;
  return result;
}

}  // namespace trainerd
