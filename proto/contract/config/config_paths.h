// SPDX-License-Identifier: Apache-2.0
// Dotted paths of configuration fields, and the file-system paths among their values.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message.h"
#include "proto/contract/config/upload_path.h"
#include "trainerd/v1/knob.pb.h"

namespace trainerd {

// The knob option of a field; the default instance where a field has none.
const v1::Knob& KnobOf(const google::protobuf::FieldDescriptor& field);

// "a.b", or "b" at the top level.
std::string JoinPath(const std::string& section, const std::string& key);

// The place of a key in a configuration. A walk over all keys makes the dotted text of few.
struct KeyPath {
  const KeyPath* section = nullptr;  // of the key's group; outlives this
  std::string_view key;              // "" at the top
  int index = -1;                    // of an element; -1: no element

  // "data.train[0].path"
  std::string Text() const;
};

// The fields that a message sets, in the order of the .proto file.
std::vector<const google::protobuf::FieldDescriptor*> PresentFields(
    const google::protobuf::Message& message);

// Dotted paths of what a message sets, in that order: scalars ("train.seed"), elements of lists of
// messages ("data.train[0].path"), lists of scalars as a whole ("optimizer.betas"), entries of maps
// by key ("labels.team").
std::vector<std::string> FieldPaths(const google::protobuf::Message& message);

// A text in a message.
struct TextPlace {
  const google::protobuf::Message& group;
  const google::protobuf::FieldDescriptor& field;
  KeyPath path;

  const std::string& Value(std::string* scratch) const;
};

// Calls `visit` for each text that a message sets, elements of lists included, maps excepted.
void ForEachText(const google::protobuf::Message& message,
                 const std::function<void(const TextPlace&)>& visit);

// Calls `visit` for each field that holds a path, with its dotted path and its value: fields with
// knob.path (but for words of knob.choices), and with knob.path_if_dotted where the value begins
// with ./ or ../ or ~/ or /.
using PathVisitor = std::function<void(const std::string& field, const std::string& value)>;
void ForEachPath(const google::protobuf::Message& message, const PathVisitor& visit);

// `path` against `folder`, with . and .. resolved and no slash at the end. A leading ~/ is `home`,
// unless that is "".
std::string AbsolutePath(const std::string& folder, const std::string& path,
                         const std::string& home = "");

// Makes fields with knob.path absolute against `folder` (words of knob.choices stay;
// init_from.checkpoint when it begins with ./ or ../ or ~/ or /; uploads stay where knob.upload
// allows them), as AbsolutePath does.
void MakePathsAbsolute(const std::string& folder, google::protobuf::Message* message,
                       const std::string& home = "");

// Replaces each upload (upload_path.h), where knob.upload allows one, by what `change` returns for
// it.
void ReplaceUploads(google::protobuf::Message* message,
                    const std::function<std::string(const UploadPath& upload)>& change);

// Replaces each path that could be an upload, but is none, by what `change` returns for it.
void ReplaceFiles(google::protobuf::Message* message,
                  const std::function<std::string(const std::string& path)>& change);

// Gives the paths that begin with / the form that MakePathsAbsolute gives them. Relative paths
// stay: only their sender knows the folder that they begin at.
void NormalizeAbsolutePaths(google::protobuf::Message* message);

}  // namespace trainerd
