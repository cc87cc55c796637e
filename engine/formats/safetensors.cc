// SPDX-License-Identifier: Apache-2.0
// The reader. The writer is in safetensors_writer.cc.
#include "engine/formats/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/mapped_pages.h"
#include "engine/formats/placeholder_file.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::json;

struct DtypeEntry {
  StoredDtype dtype;
  std::string_view name;
  int64_t size;
};
constexpr DtypeEntry kDtypes[] = {
    {StoredDtype::kFloat32, "F32", 4},        {StoredDtype::kFloat16, "F16", 2},
    {StoredDtype::kBFloat16, "BF16", 2},      {StoredDtype::kFloat64, "F64", 8},
    {StoredDtype::kInt64, "I64", 8},          {StoredDtype::kInt32, "I32", 4},
    {StoredDtype::kInt16, "I16", 2},          {StoredDtype::kInt8, "I8", 1},
    {StoredDtype::kUInt8, "U8", 1},           {StoredDtype::kBool, "BOOL", 1},
    {StoredDtype::kUInt64, "U64", 8},         {StoredDtype::kUInt32, "U32", 4},
    {StoredDtype::kUInt16, "U16", 2},         {StoredDtype::kFloat8E4M3, "F8_E4M3", 1},
    {StoredDtype::kFloat8E5M2, "F8_E5M2", 1},
};

constexpr uint64_t kLengthBytes = 8;
// The limit of the reference implementation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// One tensor's entry of the header; every number in it is untrusted.
absl::Status ReadEntry(const std::string& path, const std::string& name, const Json& entry,
                       int64_t data_begin, int64_t data_size, TensorInfo& info) {
  const auto fault = [&](const std::string& what) {
    return absl::DataLossError(absl::StrCat(path, ": tensor \"", name, "\": ", what));
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
    return fault("its header entry must have dtype, shape and data_offsets");
  }
  info.name = name;
  const std::string dtype = entry["dtype"].get<std::string>();
  const auto* known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const DtypeEntry& e) { return e.name == dtype; });
  if (known == std::end(kDtypes)) return fault(absl::StrCat("dtype ", dtype, " is not supported"));
  info.dtype = known->dtype;

  unsigned __int128 bytes = known->size;
  for (const Json& dimension : entry["shape"]) {
    if (!dimension.is_number_unsigned() || dimension.get<uint64_t>() > uint64_t{1} << 48)
      return fault("its shape has a dimension that is not a count");
    info.shape.push_back(dimension.get<int64_t>());
    bytes *= dimension.get<uint64_t>();
    if (bytes > static_cast<unsigned __int128>(std::numeric_limits<int64_t>::max()))
      return fault("its shape is too large");
  }
  const Json &begin = entry["data_offsets"][0], &end = entry["data_offsets"][1];
  if (!begin.is_number_unsigned() || !end.is_number_unsigned() ||
      begin.get<uint64_t>() > end.get<uint64_t>())
    return fault("its data_offsets are not a range");
  if (end.get<uint64_t>() > static_cast<uint64_t>(data_size)) {
    return fault(
        absl::StrCat("its data ends at byte ", end.get<uint64_t>(), " of ", data_size,
                     ": the file is truncated or its header is wrong; copy or download it again"));
  }
  info.size_bytes = static_cast<int64_t>(end.get<uint64_t>() - begin.get<uint64_t>());
  if (static_cast<unsigned __int128>(info.size_bytes) != bytes) {
    return fault(absl::StrCat("holds ", info.size_bytes, " bytes, but ", dtype, " ",
                              ShapeText(info.shape), " needs ", static_cast<int64_t>(bytes)));
  }
  info.offset = data_begin + begin.get<int64_t>();
  return absl::OkStatus();
}

}  // namespace

int64_t SizeOf(StoredDtype dtype) {
  for (const DtypeEntry& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.size;
  }
  return 0;
}

std::string_view DtypeName(StoredDtype dtype) {
  for (const DtypeEntry& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  return "";
}

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  auto file = std::unique_ptr<SafetensorsFile>(new SafetensorsFile());
  file->path_ = path;
  file->size_ = static_cast<size_t>(info.st_size);
  if (file->size_ < kLengthBytes) {
    close(fd);
    return absl::DataLossError(
        absl::StrCat(path, ": ", file->size_,
                     " bytes are too few for a safetensors file; copy or download it again"));
  }
  void* mapped = mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
  const int map_error = errno;
  close(fd);
  if (mapped == MAP_FAILED) return ErrnoStatus(map_error, absl::StrCat("mmap ", path));
  file->data_ = static_cast<const char*>(mapped);
  RETURN_IF_ERROR(file->ParseHeader());
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

absl::Status SafetensorsFile::ParseHeader() {
  const std::string placeholder = PlaceholderText(path_, {data_, std::min<size_t>(size_, 64)});
  if (!placeholder.empty()) return absl::DataLossError(absl::StrCat(path_, ": ", placeholder));
  uint64_t header_size = 0;
  for (uint64_t i = 0; i < kLengthBytes; ++i)
    header_size |= static_cast<uint64_t>(static_cast<unsigned char>(data_[i])) << (8 * i);
  if (header_size > kMaxHeaderBytes || header_size > size_ - kLengthBytes) {
    return absl::DataLossError(absl::StrCat(path_, ": the first 8 bytes give a header of ",
                                            header_size, " bytes, but the file has ", size_,
                                            ": it is truncated or not a safetensors file"));
  }
  const std::string_view text(data_ + kLengthBytes, header_size);
  // The parser would keep the last of two equal names; the callback sees each of them.
  std::vector<std::string> names;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) names.push_back(parsed.get<std::string>());
    return true;
  };
  const Json header = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (!header.is_object())
    return absl::DataLossError(absl::StrCat(path_, ": the header is not a JSON object"));
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    return absl::DataLossError(absl::StrCat(path_, ": tensor \"", *twice, "\" is named twice"));
  }
  const int64_t data_begin = static_cast<int64_t>(kLengthBytes + header_size);
  const int64_t data_size = static_cast<int64_t>(size_) - data_begin;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object())
        return absl::DataLossError(absl::StrCat(path_, ": __metadata__ is not an object"));
      for (const auto& [key, value] : entry.items()) {
        if (value.is_string()) metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    TensorInfo info;
    RETURN_IF_ERROR(ReadEntry(path_, name, entry, data_begin, data_size, info));
    tensors_.push_back(std::move(info));
  }
  // In file order; an empty tensor comes before the tensor at the same offset.
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.size_bytes, a.name) < std::tie(b.offset, b.size_bytes, b.name);
  });
  int64_t expected = data_begin;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].offset != expected) {
      return absl::DataLossError(absl::StrCat(path_, ": tensor \"", tensors_[i].name,
                                              "\" begins at byte ", tensors_[i].offset - data_begin,
                                              " of the data instead of ", expected - data_begin,
                                              ": tensors overlap or leave a hole"));
    }
    expected += tensors_[i].size_bytes;
    by_name_[tensors_[i].name] = i;
  }
  if (expected != static_cast<int64_t>(size_)) {
    return absl::DataLossError(absl::StrCat(path_, ": ", static_cast<int64_t>(size_) - expected,
                                            " bytes follow the last tensor"));
  }
  return absl::OkStatus();
}

const TensorInfo* SafetensorsFile::Find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

std::string_view SafetensorsFile::Bytes(const TensorInfo& info) const {
  return {data_ + info.offset, static_cast<size_t>(info.size_bytes)};
}

absl::StatusOr<std::string_view> SafetensorsFile::Bytes(std::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr)
    return absl::NotFoundError(absl::StrCat(path_, ": no tensor \"", std::string(name), "\""));
  return Bytes(*info);
}

void SafetensorsFile::Release(const TensorInfo& info) const { ReleasePages(Bytes(info)); }

}  // namespace trainerd::engine
