// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/gguf/gguf_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/gguf/gguf_value.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kAlignment = 32;
constexpr uint32_t kVersion = 3;

template <typename T>
void AppendNumber(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendText(std::string_view text, std::string* out) {
  AppendNumber(uint64_t{text.size()}, out);
  out->append(text);
}

int64_t Aligned(int64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

int64_t BytesOf(const GgufWriter::Declared& tensor) {
  int64_t elements = 1;
  for (const int64_t dimension : tensor.shape) elements *= dimension;
  return GgufBytes(tensor.type, elements);
}

std::string Header(const GgufEntries& entries, const std::vector<GgufWriter::Declared>& tensors) {
  std::string header = "GGUF";
  AppendNumber(kVersion, &header);
  AppendNumber(uint64_t{tensors.size()}, &header);
  AppendNumber(static_cast<uint64_t>(entries.count()), &header);
  header += entries.bytes();
  int64_t offset = 0;
  for (const GgufWriter::Declared& tensor : tensors) {
    AppendText(tensor.name, &header);
    AppendNumber(static_cast<uint32_t>(tensor.shape.size()), &header);
    for (size_t i = tensor.shape.size(); i-- > 0;)
      AppendNumber(static_cast<uint64_t>(tensor.shape[i]), &header);
    AppendNumber(static_cast<uint32_t>(tensor.type), &header);
    AppendNumber(static_cast<uint64_t>(offset), &header);
    offset = Aligned(offset + BytesOf(tensor));
  }
  header.resize(static_cast<size_t>(Aligned(static_cast<int64_t>(header.size()))), '\0');
  return header;
}

}  // namespace

void GgufEntries::AddKey(std::string_view key, uint32_t type) {
  AppendText(key, &bytes_);
  AppendNumber(type, &bytes_);
  ++count_;
}

void GgufEntries::AddUint32(std::string_view key, int64_t value) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kUint32));
  AppendNumber(static_cast<uint32_t>(value), &bytes_);
}

void GgufEntries::AddFloat32(std::string_view key, double value) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kFloat32));
  AppendNumber(static_cast<float>(value), &bytes_);
}

void GgufEntries::AddBool(std::string_view key, bool value) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kBool));
  AppendNumber(static_cast<uint8_t>(value), &bytes_);
}

void GgufEntries::AddText(std::string_view key, std::string_view value) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kString));
  AppendText(value, &bytes_);
}

void GgufEntries::AddTexts(std::string_view key, absl::Span<const std::string> values) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kArray));
  AppendNumber(static_cast<uint32_t>(GgufValueType::kString), &bytes_);
  AppendNumber(uint64_t{values.size()}, &bytes_);
  for (const std::string& value : values) AppendText(value, &bytes_);
}

void GgufEntries::AddInt32s(std::string_view key, absl::Span<const int32_t> values) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kArray));
  AppendNumber(static_cast<uint32_t>(GgufValueType::kInt32), &bytes_);
  AppendNumber(uint64_t{values.size()}, &bytes_);
  for (const int32_t value : values) AppendNumber(value, &bytes_);
}

void GgufEntries::AddFloat32s(std::string_view key, absl::Span<const float> values) {
  AddKey(key, static_cast<uint32_t>(GgufValueType::kArray));
  AppendNumber(static_cast<uint32_t>(GgufValueType::kFloat32), &bytes_);
  AppendNumber(uint64_t{values.size()}, &bytes_);
  for (const float value : values) AppendNumber(value, &bytes_);
}

absl::StatusOr<std::unique_ptr<GgufWriter>> GgufWriter::Create(const std::string& path,
                                                               const GgufEntries& entries,
                                                               std::vector<Declared> tensors) {
  auto writer = std::unique_ptr<GgufWriter>(new GgufWriter());
  writer->path_ = path;
  writer->fd_.Reset(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!writer->fd_.is_open()) return ErrnoStatus(errno, absl::StrCat("create ", path));
  RETURN_IF_ERROR(writer->Write(Header(entries, tensors)));
  writer->tensors_ = std::move(tensors);
  return writer;
}

absl::Status GgufWriter::Write(std::string_view bytes) { return WriteAll(fd_.get(), bytes, path_); }

absl::Status GgufWriter::Append(std::string_view bytes) {
  TRAINERD_CHECK(current_ < tensors_.size());
  const int64_t whole = BytesOf(tensors_[current_]);
  current_bytes_ += static_cast<int64_t>(bytes.size());
  TRAINERD_CHECK(current_bytes_ <= whole);
  RETURN_IF_ERROR(Write(bytes));
  if (current_bytes_ < whole) return absl::OkStatus();
  ++current_;
  current_bytes_ = 0;
  return Write(std::string(static_cast<size_t>(Aligned(whole) - whole), '\0'));
}

absl::Status GgufWriter::Finish() {
  TRAINERD_CHECK(current_ == tensors_.size());
  if (fsync(fd_.get()) != 0) return ErrnoStatus(errno, absl::StrCat("fsync ", path_));
  if (close(fd_.Release()) != 0) return ErrnoStatus(errno, absl::StrCat("close ", path_));
  return absl::OkStatus();
}

}  // namespace trainerd::engine
