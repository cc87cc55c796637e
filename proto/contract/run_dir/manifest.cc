// SPDX-License-Identifier: Apache-2.0
// Checks every value before it is used: a manifest may come from a corrupt disk or a copied folder.
#include "proto/contract/run_dir/manifest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

using Json = nlohmann::json;  // its objects are ordered by key

constexpr int kManifestVersion = 1;
constexpr int64_t kMaxManifestBytes = 4 << 20;
// A run state is the configuration of the job and a few numbers.
constexpr int64_t kMaxRunStateBytes = 4 << 20;
constexpr char kRunStateName[] = "state.json";
constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kXxh3HexDigits = 32;
constexpr size_t kSha256HexDigits = 64;

bool IsHex(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// A file of the folder, or of a folder in it: a manifest cannot make anyone verify or copy a file
// outside of it.
bool IsFileName(const std::string& name) {
  if (name.find('\0') != std::string::npos) return false;
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  return parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
           return !part.empty() && part != "." && part != "..";
         });
}

absl::Status Bad(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(kManifestName, " is damaged: ", what));
}

// Typed access to the members of one object. Keeps the first error.
class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  std::string Text(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr) return "";
    if (!value->is_string()) return Fail<std::string>(key, "text");
    return value->get<std::string>();
  }
  int64_t Count(const char* key, int64_t max) {
    const Json* value = Find(key);
    if (value == nullptr) return 0;
    const bool fits =
        value->is_number_unsigned() && value->get<uint64_t>() <= static_cast<uint64_t>(max);
    if (!fits) return Fail<int64_t>(key, absl::StrCat("a whole number from 0 to ", max));
    return value->get<int64_t>();
  }
  bool Flag(const char* key) {
    const Json* value = Find(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return Fail<bool>(key, "true or false");
    return value->get<bool>();
  }
  const Json* Object(const char* key) {
    const Json* value = Find(key);
    if (value != nullptr && value->is_object()) return value;
    Fail<int>(key, "an object");
    return nullptr;
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* key) {
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    if (status_.ok()) status_ = Bad(absl::StrCat("\"", key, "\" is missing"));
    return nullptr;
  }
  template <typename T>
  T Fail(const char* key, absl::string_view expected) {
    if (status_.ok()) status_ = Bad(absl::StrCat("\"", key, "\" is not ", expected));
    return T{};
  }

  const Json& object_;
  absl::Status status_;
};

absl::Status ParseFiles(const Json& files, Manifest* manifest) {
  int64_t total = 0;
  for (const auto& [name, entry] : files.items()) {
    if (!IsFileName(name) || name == kManifestName)
      return Bad(absl::StrCat("\"", name, "\" is not the name of a file of the folder"));
    if (!entry.is_object()) return Bad(absl::StrCat("the entry of ", name, " is not an object"));
    Reader reader(entry);
    ManifestFile file;
    file.size_bytes = reader.Count("size_bytes", std::numeric_limits<int64_t>::max() - total);
    file.xxh3_hex = reader.Text("xxh3");
    RETURN_IF_ERROR(Annotate(reader.status(), "file ", name));
    if (!IsHex(file.xxh3_hex, kXxh3HexDigits))
      return Bad(absl::StrCat("xxh3 of ", name, " is not 32 hex digits"));
    total += file.size_bytes;
    manifest->files[name] = std::move(file);
  }
  return absl::OkStatus();
}

absl::Status CheckValues(const Manifest& manifest) {
  if (manifest.kind != "checkpoint" && manifest.kind != "final") {
    return Bad(absl::StrCat("kind \"", manifest.kind, "\" is not checkpoint or final"));
  }
  if (!manifest.config_digest_hex.empty() && !IsHex(manifest.config_digest_hex, kSha256HexDigits)) {
    return Bad("config_digest is not 64 hex digits");
  }
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, manifest.create_time, &time, &error)) {
    return Bad(absl::StrCat("create_time \"", manifest.create_time, "\" is not an RFC 3339 time"));
  }
  return absl::OkStatus();
}

absl::Status VerifyFile(const std::string& path, const ManifestFile& expected,
                        const std::function<bool()>& is_cancelled, std::vector<char>* buffer) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open() && errno == ENOENT) {
    return absl::DataLossError(absl::StrCat(path, " is missing"));
  }
  if (!file.is_open()) return ErrnoStatus(errno, "open " + path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return ErrnoStatus(errno, "stat " + path);
  if (!S_ISREG(info.st_mode))
    return absl::DataLossError(absl::StrCat(path, " is not a plain file"));
  if (info.st_size != expected.size_bytes) {
    return absl::DataLossError(absl::StrCat(path, " has ", info.st_size,
                                            " bytes, its manifest says ", expected.size_bytes));
  }
  Xxh3Stream hash;
  while (true) {
    if (is_cancelled && is_cancelled())
      return absl::CancelledError("the caller no longer waits for the verification");
    const ssize_t got = read(file.get(), buffer->data(), buffer->size());
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read " + path);
    hash.Update(buffer->data(), static_cast<size_t>(got));
  }
  const std::string found = ToHex(hash.Digest());
  if (found == expected.xxh3_hex) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path, " has the XXH3-128 ", found, ", its manifest says ", expected.xxh3_hex));
}

// Manifests of earlier builds have no number of tokens, but the run state does. 0 if it cannot be
// read.
int64_t TokensOfRunState(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || info.st_size > kMaxRunStateBytes) return 0;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return 0;
  // Members of the outermost object only.
  const auto keep = [](int depth, Json::parse_event_t, Json&) { return depth <= 1; };
  const Json state = Json::parse(*text, keep, /*allow_exceptions=*/false);
  const auto tokens = state.is_object() ? state.find("tokens") : state.end();
  if (tokens == state.end() || !tokens->is_number_unsigned()) return 0;
  const uint64_t count = tokens->get<uint64_t>();
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  return count <= kMax ? static_cast<int64_t>(count) : 0;
}

std::string ManifestPath(const std::string& folder) {
  return absl::StrCat(folder, "/", kManifestName);
}

}  // namespace

int64_t Manifest::total_bytes() const {
  int64_t total = 0;
  for (const auto& [name, file] : files) total += file.size_bytes;
  return total;
}

std::string ManifestToJson(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, file] : manifest.files)
    files[name] = {{"size_bytes", file.size_bytes}, {"xxh3", file.xxh3_hex}};
  const Json json = {{"version", manifest.version},
                     {"job", manifest.job},
                     {"attempt", manifest.attempt},
                     {"step", manifest.step},
                     {"parent", manifest.parent},
                     {"kind", manifest.kind},
                     {"config_digest", manifest.config_digest_hex},
                     {"create_time", manifest.create_time},
                     {"has_optimizer", manifest.has_optimizer},
                     {"adapter", manifest.adapter},
                     {"tokens", manifest.tokens},
                     {"files", std::move(files)}};
  // A name that is not UTF-8 must not throw. Its replacement does not match the folder, so the
  // verification refuses it.
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Manifest> ParseManifest(const std::string& json) {
  const Json object = Json::parse(json, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Bad("it is not a JSON object");
  Reader reader(object);
  Manifest manifest;
  manifest.version = static_cast<int>(reader.Count("version", std::numeric_limits<int>::max()));
  RETURN_IF_ERROR(reader.status());
  if (manifest.version != kManifestVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        kManifestName, " has version ", manifest.version, ", this trainerd reads version ",
        kManifestVersion, "; use the trainerd that wrote it"));
  }
  manifest.job = reader.Text("job");
  manifest.attempt =
      static_cast<int32_t>(reader.Count("attempt", std::numeric_limits<int32_t>::max()));
  manifest.step = reader.Count("step", std::numeric_limits<int64_t>::max());
  manifest.parent = reader.Text("parent");
  manifest.kind = reader.Text("kind");
  manifest.config_digest_hex = reader.Text("config_digest");
  manifest.create_time = reader.Text("create_time");
  manifest.has_optimizer = reader.Flag("has_optimizer");
  if (object.contains("adapter")) manifest.adapter = reader.Flag("adapter");
  if (object.contains("tokens"))
    manifest.tokens = reader.Count("tokens", std::numeric_limits<int64_t>::max());
  const Json* files = reader.Object("files");
  RETURN_IF_ERROR(reader.status());
  RETURN_IF_ERROR(ParseFiles(*files, &manifest));
  RETURN_IF_ERROR(CheckValues(manifest));
  return manifest;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  const std::string path = ManifestPath(folder);
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "open " + path);
  if (info.st_size > kMaxManifestBytes) {
    return absl::DataLossError(
        absl::StrCat(path, " has ", info.st_size, " bytes, more than any manifest"));
  }
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  absl::StatusOr<Manifest> manifest = ParseManifest(json);
  if (!manifest.ok()) return Annotate(manifest.status(), "in ", folder);
  if (manifest->tokens == 0 && manifest->step > 0 && manifest->files.contains(kRunStateName)) {
    manifest->tokens = TokensOfRunState(absl::StrCat(folder, "/", kRunStateName));
  }
  return manifest;
}

absl::Status VerifyFolder(const std::string& folder, const Manifest& manifest,
                          const std::function<bool()>& is_cancelled) {
  std::vector<char> buffer(kReadBytes);
  for (const auto& [name, file] : manifest.files) {
    if (!IsFileName(name))
      return Bad(absl::StrCat("\"", name, "\" is not the name of a file of the folder"));
    RETURN_IF_ERROR(VerifyFile(absl::StrCat(folder, "/", name), file, is_cancelled, &buffer));
  }
  return absl::OkStatus();
}

std::vector<std::string> ManifestPaths(const std::string& folder) {
  std::vector<std::string> paths = {ManifestPath(folder)};
  const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  if (!manifest.ok()) return paths;
  for (const auto& [name, file] : manifest->files) paths.push_back(absl::StrCat(folder, "/", name));
  return paths;
}

absl::StatusOr<std::string> ManifestDigest(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(ManifestPath(folder)));
  return Xxh3(json);
}

}  // namespace trainerd
