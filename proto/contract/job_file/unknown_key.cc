// SPDX-License-Identifier: Apache-2.0
// First the keys of other tools, which are known words; then the nearest key of the section, then
// the same key in another section, else all keys.
#include "proto/contract/job_file/unknown_key.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/contract/config/advice/nearest_word.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/job_file/foreign_keys.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Messages of configurations are flat; one that contains itself must not be searched for ever.
constexpr int kMaxDepth = 8;

std::vector<std::string> KeysOf(const Descriptor& descriptor) {
  std::vector<std::string> keys;
  for (int i = 0; i < descriptor.field_count(); ++i)
    keys.push_back(std::string(descriptor.field(i)->name()));
  return keys;
}

// Dotted path of the one field called `key` anywhere below `descriptor`, "" if there is none.
std::string FindKey(const Descriptor& descriptor, const std::string& section,
                    const std::string& key, int depth = 0) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    const std::string path = JoinPath(section, std::string(field.name()));
    if (field.name() == key && !section.empty()) return path;
    if (field.is_map() || IsScalarField(field) || depth >= kMaxDepth) continue;
    const std::string found = FindKey(*field.message_type(), path, key, depth + 1);
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace

std::string UnknownKeyMessage(const UnknownKey& unknown, bool list_keys, bool* listed) {
  *listed = false;
  const std::string message = absl::StrCat(
      "unknown key ", Quoted(unknown.key),
      unknown.section_path.empty() ? " at the top level" : " in ", unknown.section_path);
  const bool job_file = &unknown.root == v1::JobConfig::descriptor();
  const ForeignKeys* foreign = job_file ? FindForeignKey(unknown.key) : nullptr;
  if (foreign != nullptr) return absl::StrCat(message, "; ", ForeignKeyAdvice(*foreign));
  std::string nearest = NearestWord(unknown.key, KeysOf(unknown.section));
  if (nearest.empty()) nearest = FindKey(unknown.root, "", unknown.key);
  if (!nearest.empty()) return absl::StrCat(message, "; did you mean \"", nearest, "\"?");
  constexpr int kMaxListedKeys = 30;
  *listed = list_keys && unknown.section.field_count() <= kMaxListedKeys;
  if (!*listed) return message;
  return absl::StrCat(message, "; the keys are ", absl::StrJoin(KeysOf(unknown.section), ", "));
}

}  // namespace trainerd
