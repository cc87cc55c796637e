// SPDX-License-Identifier: Apache-2.0
// YAML → message by reflection: the message is the schema. Used for job files, server settings and
// --set. The way back is message_to_yaml.h, which this header brings along with what else belongs
// to configuration files.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message.h"
#include "proto/contract/config/advice/nearest_word.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job_file/message_to_yaml.h"

namespace trainerd {

struct YamlResult {
  std::vector<ConfigViolation> violations;  // empty = all of the file was understood
  std::vector<std::string>
      given;  // dotted paths that the file sets, in file order (see FieldPaths)
  std::map<std::string, int>
      lines;  // path → line, sections and list elements included, for errors that are found later
};

// Reads `yaml` into `message`, over what is there. Unknown keys (with the nearest valid one), wrong
// types and duplicate keys are violations, all of them at once (up to 100); the message then holds
// what was understood. Durations are written 300s, 5m, 2h. Short forms: a repeated message with a
// `path` field takes plain strings and a single value (data.train: file.jsonl); a repeated scalar
// takes one value. A section without keys (`train:`) gives nothing. Paths are left as written: see
// MakePathsAbsolute. Limits, each a violation: 4 MiB, one document, 32 levels, 100,000 values (an
// alias counts as all that it stands for).
YamlResult YamlToMessage(std::string_view yaml, google::protobuf::Message* message);

// Sets one dotted path from text: "train.max_steps" and "20", "data.train[0].weight",
// "labels.team". The value is read as YAML, that of a single text field as it stands unless it
// begins with a quote. Overwrites lists and maps; a group of keys is merged. Violations carry no
// line.
YamlResult SetField(std::string_view path, std::string_view yaml_value,
                    google::protobuf::Message* message);

}  // namespace trainerd
