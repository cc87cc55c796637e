// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/gguf/gguf_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/mapped_pages.h"
#include "engine/formats/placeholder_file.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kOldestVersion = 2, kNewestVersion = 3;
constexpr int64_t kDefaultAlignment = 32, kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxDimensions = 4;
constexpr size_t kMaxKeyBytes = 65535, kMaxNameBytes = 1024;
// Lists within lists.
constexpr int kMaxNesting = 4;

// Reads the header from front to back.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  template <typename T>
  absl::StatusOr<T> Read() {
    ASSIGN_OR_RETURN(const std::string_view bytes, Take(sizeof(T)));
    T value{};
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  absl::StatusOr<std::string_view> Take(uint64_t size) {
    if (size > left()) {
      return absl::DataLossError(absl::StrCat(
          "the header needs ", size, " bytes at byte ", position_, ", but the file has ",
          bytes_.size(), " bytes: it is truncated or damaged; copy or download it again"));
    }
    const std::string_view result = bytes_.substr(position_, size);
    position_ += size;
    return result;
  }
  absl::StatusOr<std::string_view> Text() {
    ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>());
    return Take(size);
  }
  // A count of things that take at least `least` bytes each.
  absl::StatusOr<uint64_t> Count(std::string_view what, uint64_t least) {
    ASSIGN_OR_RETURN(const uint64_t count, Read<uint64_t>());
    if (count <= left() / least) return count;
    return absl::DataLossError(absl::StrCat(count, " ", std::string(what),
                                            " do not fit into the rest of the file, ", left(),
                                            " bytes: it is truncated or damaged; copy or download "
                                            "it again"));
  }

 private:
  const std::string_view bytes_;
  size_t position_ = 0;
};

absl::StatusOr<GgufValueType> ReadValueType(Cursor& cursor) {
  ASSIGN_OR_RETURN(const uint32_t number, cursor.Read<uint32_t>());
  if (number <= static_cast<uint32_t>(GgufValueType::kFloat64))
    return static_cast<GgufValueType>(number);
  return absl::DataLossError(absl::StrCat("value type ", number, " does not exist"));
}

absl::StatusOr<GgufArray> ReadArray(Cursor& cursor, int depth) {
  GgufArray list;
  ASSIGN_OR_RETURN(list.type, ReadValueType(cursor));
  const int64_t size = SizeOf(list.type);
  // A text has a length, a list a type and a length.
  const uint64_t least = size > 0 ? size : list.type == GgufValueType::kString ? 8 : 12;
  ASSIGN_OR_RETURN(const uint64_t count, cursor.Count("elements", least));
  list.count = static_cast<int64_t>(count);
  if (size > 0) {
    ASSIGN_OR_RETURN(list.bytes, cursor.Take(count * static_cast<uint64_t>(size)));
  } else if (list.type == GgufValueType::kString) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const std::string_view text, cursor.Text());
      list.texts.push_back(text);
    }
  } else if (depth == kMaxNesting) {
    return absl::DataLossError(absl::StrCat("lists are nested more than ", kMaxNesting, " deep"));
  } else {
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(GgufArray inner, ReadArray(cursor, depth + 1));
      list.arrays.push_back(std::move(inner));
    }
  }
  return list;
}

absl::StatusOr<GgufValue> ReadValue(Cursor& cursor) {
  ASSIGN_OR_RETURN(const GgufValueType type, ReadValueType(cursor));
  if (type == GgufValueType::kArray) return ReadArray(cursor, 1);
  if (type == GgufValueType::kString) return cursor.Text();
  ASSIGN_OR_RETURN(const std::string_view bytes, cursor.Take(static_cast<uint64_t>(SizeOf(type))));
  return GgufNumber(type, bytes.data());
}

std::string Shown(std::string_view name) { return PlainText(name.substr(0, kMaxNameBytes)); }

// Sets the shape, and the size by the type.
absl::Status ReadShape(Cursor& cursor, GgufTensor& tensor) {
  ASSIGN_OR_RETURN(const uint32_t num_dimensions, cursor.Read<uint32_t>());
  if (num_dimensions > kMaxDimensions) {
    return absl::DataLossError(absl::StrCat("has ", num_dimensions, " dimensions; at most ",
                                            kMaxDimensions, " are possible"));
  }
  unsigned __int128 elements = 1;
  for (uint32_t i = 0; i < num_dimensions; ++i) {
    ASSIGN_OR_RETURN(const uint64_t dimension, cursor.Read<uint64_t>());
    elements *= dimension;
    if (dimension == 0 || dimension > uint64_t{1} << 48 || elements > uint64_t{1} << 56)
      return absl::DataLossError(absl::StrCat("has a dimension of ", dimension));
    tensor.shape.push_back(static_cast<int64_t>(dimension));
  }
  ASSIGN_OR_RETURN(const uint32_t number, cursor.Read<uint32_t>());
  const GgufTypeTraits* traits = FindGgufType(number);
  if (traits == nullptr) {
    return absl::UnimplementedError(absl::StrCat("has ", GgufTypeText(number),
                                                 ", which is not supported; supported are ",
                                                 SupportedGgufTypes()));
  }
  tensor.type = traits->type;
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.front();
  if (row % traits->block_elements != 0) {
    return absl::DataLossError(absl::StrCat("has rows of ", row, " elements, but ",
                                            std::string(traits->name), " has blocks of ",
                                            traits->block_elements));
  }
  tensor.size_bytes = GgufBytes(tensor.type, static_cast<int64_t>(elements));
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  return absl::OkStatus();
}

// The offset is still that of the file.
absl::StatusOr<GgufTensor> ReadTensor(Cursor& cursor) {
  GgufTensor tensor;
  ASSIGN_OR_RETURN(const std::string_view name, cursor.Text());
  if (name.size() > kMaxNameBytes) {
    return absl::DataLossError(absl::StrCat("the name of a tensor has ", name.size(),
                                            " bytes; at most ", kMaxNameBytes, " are possible"));
  }
  tensor.name = std::string(name);
  const std::string where = absl::StrCat("tensor \"", Shown(name), "\"");
  if (const absl::Status status = ReadShape(cursor, tensor); !status.ok())
    return absl::Status(status.code(), absl::StrCat(where, " ", status.message()));
  ASSIGN_OR_RETURN(const uint64_t offset, cursor.Read<uint64_t>());
  if (offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return absl::DataLossError(absl::StrCat(where, " has the offset ", offset));
  tensor.offset = static_cast<int64_t>(offset);
  return tensor;
}

absl::Status CheckVersion(uint32_t version) {
  if (version >= kOldestVersion && version <= kNewestVersion) return absl::OkStatus();
  if (__builtin_bswap32(version) <= kNewestVersion && version != 0) {
    return absl::UnimplementedError(
        "the file is big-endian; only little-endian files are supported");
  }
  return absl::UnimplementedError(absl::StrCat("GGUF version ", version,
                                               " is not supported; supported are ", kOldestVersion,
                                               " and ", kNewestVersion));
}

absl::Status ReadMetadata(Cursor& cursor, uint64_t count, GgufMetadata& metadata) {
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key, cursor.Text());
    if (key.empty() || key.size() > kMaxKeyBytes)
      return absl::DataLossError(absl::StrCat("a metadata key has ", key.size(), " bytes"));
    absl::StatusOr<GgufValue> value = ReadValue(cursor);
    if (!value.ok()) return Annotate(value.status(), "metadata key ", Shown(key));
    if (const absl::Status status = metadata.Add(key, *std::move(value)); !status.ok())
      return absl::DataLossError(status.message());
  }
  return absl::OkStatus();
}

}  // namespace

int64_t GgufTensor::num_elements() const {
  int64_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  return count;
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  absl::StatusOr<Fd> opened = OpenRegularFile(path);
  if (absl::IsNotFound(opened.status())) {
    return absl::NotFoundError(absl::StrCat(
        path, ": no such file; give the path of a .gguf file, and check that its download ended"));
  }
  ASSIGN_OR_RETURN(const Fd fd, std::move(opened));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", path));
  auto file = std::unique_ptr<GgufFile>(new GgufFile());
  file->path_ = path;
  if (info.st_size == 0)
    return absl::DataLossError(absl::StrCat(path, ": the file is empty; download it again"));
  const size_t size = static_cast<size_t>(info.st_size);
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoStatus(errno, absl::StrCat("mmap ", path));
  file->data_ = static_cast<const char*>(mapped);
  file->size_ = size;
  const absl::Status parsed = file->Parse();
  if (!parsed.ok()) return Annotate(parsed, path);
  return file;
}

GgufFile::~GgufFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

absl::Status GgufFile::Parse() {
  const std::string_view bytes(data_, size_);
  const std::string placeholder = PlaceholderText(path_, bytes.substr(0, 64));
  if (!placeholder.empty()) return absl::DataLossError(placeholder);
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError(
        "the file does not begin with \"GGUF\": it is damaged or no GGUF file");
  }
  Cursor cursor(bytes);
  RETURN_IF_ERROR(cursor.Take(kMagic.size()).status());
  ASSIGN_OR_RETURN(const uint32_t version, cursor.Read<uint32_t>());
  RETURN_IF_ERROR(CheckVersion(version));
  // Name, dimensions, type and offset; key, type and value.
  ASSIGN_OR_RETURN(const uint64_t num_tensors, cursor.Count("tensors", 8 + 4 + 4 + 8));
  ASSIGN_OR_RETURN(const uint64_t num_entries, cursor.Count("metadata entries", 8 + 4 + 1));
  RETURN_IF_ERROR(ReadMetadata(cursor, num_entries, metadata_));
  for (uint64_t i = 0; i < num_tensors; ++i) {
    ASSIGN_OR_RETURN(GgufTensor tensor, ReadTensor(cursor));
    tensors_.push_back(std::move(tensor));
  }
  return PlaceTensors(static_cast<int64_t>(cursor.position()));
}

absl::Status GgufFile::PlaceTensors(int64_t header_size) {
  int64_t alignment = kDefaultAlignment;
  if (metadata_.Has("general.alignment")) {
    ASSIGN_OR_RETURN(alignment, metadata_.Count("general.alignment"));
    if (alignment < 1 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
      return absl::DataLossError(absl::StrCat("general.alignment is ", alignment,
                                              "; it must be a power of two up to ", kMaxAlignment));
    }
  }
  const int64_t data_begin = (header_size + alignment - 1) / alignment * alignment;
  const int64_t data_size = std::max<int64_t>(0, static_cast<int64_t>(size_) - data_begin);
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const auto& a, const auto& b) { return a.offset < b.offset; });
  int64_t end = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    GgufTensor& tensor = tensors_[i];
    const std::string where = absl::StrCat("tensor \"", Shown(tensor.name), "\"");
    if (!by_name_.emplace(tensor.name, i).second)
      return absl::DataLossError(absl::StrCat(where, " is there twice"));
    if (tensor.offset % alignment != 0) {
      return absl::DataLossError(absl::StrCat(where, " begins at byte ", tensor.offset,
                                              " of the data, no multiple of ", alignment));
    }
    if (tensor.offset < end) {
      return absl::DataLossError(absl::StrCat(where, " begins at byte ", tensor.offset,
                                              " of the data, within the tensor before it"));
    }
    if (tensor.offset > data_size || tensor.size_bytes > data_size - tensor.offset) {
      return absl::DataLossError(
          absl::StrCat(where, " has ", tensor.size_bytes, " bytes from byte ", tensor.offset,
                       " of the data, which has ", data_size,
                       " bytes: the file is truncated or damaged; copy or download it again"));
    }
    end = tensor.offset + tensor.size_bytes;
    tensor.offset += data_begin;
  }
  return absl::OkStatus();
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

std::string_view GgufFile::Bytes(const GgufTensor& tensor) const {
  return {data_ + tensor.offset, static_cast<size_t>(tensor.size_bytes)};
}

void GgufFile::Release(const GgufTensor& tensor) const { ReleasePages(Bytes(tensor)); }

}  // namespace trainerd::engine
