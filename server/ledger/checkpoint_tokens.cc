// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoint_tokens.h"

#include <errno.h>
#include <sys/stat.h>

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/read_error.h"

namespace trainerd::server {
namespace {

using Json = nlohmann::json;

// A run state is the job's configuration and a few numbers.
constexpr int64_t kMaxStateBytes = 4 << 20;

// Finds the member "tokens" of the outermost object while the text goes by, however deep it is: no
// tree of an untrusted file is built.
class TokensFinder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Other(); }
  bool boolean(bool) override { return Other(); }
  bool number_integer(Json::number_integer_t) override { return Other(); }  // a negative one
  bool number_unsigned(Json::number_unsigned_t value) override {
    if (!std::exchange(wanted_, false)) return true;
    const bool fits = value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    tokens_ = fits ? std::optional(static_cast<int64_t>(value)) : std::nullopt;
    return true;
  }
  bool number_float(Json::number_float_t, const Json::string_t&) override { return Other(); }
  bool string(Json::string_t&) override { return Other(); }
  bool binary(Json::binary_t&) override { return Other(); }
  bool key(Json::string_t& name) override {
    wanted_ = depth_ == 1 && name == "tokens";
    return true;
  }
  bool start_object(std::size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(std::size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }
  const std::optional<int64_t>& tokens() const { return tokens_; }

 private:
  bool Other() {
    if (std::exchange(wanted_, false)) tokens_.reset();
    return true;
  }
  bool Enter() {
    Other();
    ++depth_;
    return true;
  }
  bool Leave() {
    --depth_;
    return true;
  }
  int64_t depth_ = 0;
  bool wanted_ = false;
  std::optional<int64_t> tokens_;
};

absl::StatusOr<int64_t> ReadTokens(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "open " + path);
  if (info.st_size > kMaxStateBytes) {
    return absl::DataLossError(
        absl::StrCat(path, " has ", info.st_size, " bytes, more than any run state"));
  }
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  TokensFinder finder;
  if (!Json::sax_parse(json, &finder) || !finder.tokens().has_value()) {
    return absl::DataLossError(absl::StrCat(path, " does not say how many tokens it stands for"));
  }
  return *finder.tokens();
}

}  // namespace

absl::StatusOr<int64_t> CheckpointTokens(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/state.json");
  absl::StatusOr<int64_t> tokens = absl::UnknownError("not read");
  RETURN_IF_ERROR(ConfirmCorruption({path}, [&] {
    tokens = ReadTokens(path);
    return tokens.status();
  }));
  return tokens;
}

}  // namespace trainerd::server
