// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect tokenize: lines {"id","text"} → {"id","ids"}, and back with --decode. `id` is
// any JSON value and comes back as it was. Where ids decode to special tokens, "special" lists
// their places.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cli/inspect/commands.h"
#include "engine/cli/inspect/json_lines.h"
#include "engine/data/source/jsonl_reader.h"
#include "engine/formats/json.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "proto/base/status_macros.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

class LineConverter {
 public:
  LineConverter(const Tokenizer& tokenizer, bool decode) : tokenizer_(tokenizer), decode_(decode) {}

  // Appends the answer to *out.
  absl::Status Convert(std::string_view line, std::string* out);

 private:
  absl::Status Encode(const simdjson::dom::object& row, std::string* out);
  absl::Status Decode(const simdjson::dom::object& row, std::string* out);

  const Tokenizer& tokenizer_;
  const bool decode_;
  simdjson::dom::parser parser_;
  Encoding encoding_;
};

absl::Status LineConverter::Encode(const simdjson::dom::object& row, std::string* out) {
  std::string_view text;
  if (row["text"].get(text) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("the record has no \"text\" that is a string");
  }
  RETURN_IF_ERROR(tokenizer_.Encode(text, &encoding_));
  *out += ",\"ids\":";
  AppendJsonInts(encoding_.ids, out);
  return absl::OkStatus();
}

absl::Status LineConverter::Decode(const simdjson::dom::object& row, std::string* out) {
  simdjson::dom::array values;
  if (row["ids"].get(values) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("the record has no \"ids\" that is a list");
  }
  std::vector<int32_t> ids;
  for (const auto& value : values) {
    int64_t id = 0;
    if (value.get(id) != simdjson::SUCCESS || id < 0 || id > INT32_MAX) {
      return absl::InvalidArgumentError("\"ids\" holds something that is not a token id");
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  *out += ",\"text\":";
  AppendJsonString(tokenizer_.Decode(ids), out);
  std::vector<size_t> special;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (tokenizer_.IsSpecial(ids[i])) special.push_back(i);
  }
  if (special.empty()) return absl::OkStatus();
  *out += ",\"special\":";
  AppendJsonInts(special, out);
  return absl::OkStatus();
}

absl::Status LineConverter::Convert(std::string_view line, std::string* out) {
  simdjson::dom::element element;
  auto error = parser_.parse(line.data(), line.size(), /*realloc_if_needed=*/false).get(element);
  if (const auto readable = error ? WithoutOddNumbers(line) : std::nullopt; readable) {
    error = parser_.parse(*readable).get(element);
  }
  if (error) {
    nlohmann::ordered_json unused;
    const std::optional<JsonSyntaxError> syntax = ReadJsonWithSpelling(line, &unused);
    return absl::InvalidArgumentError(absl::StrCat(
        "column ", syntax ? syntax->column : 1,
        ": the line is not JSON: ", syntax ? syntax->message : simdjson::error_message(error)));
  }
  simdjson::dom::object row;
  if (element.get(row) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("the line is not a JSON object");
  }
  simdjson::dom::element id;
  *out += "{\"id\":";
  *out += row["id"].get(id) == simdjson::SUCCESS ? std::string(simdjson::minify(id)) : "null";
  RETURN_IF_ERROR(decode_ ? Decode(row, out) : Encode(row, out));
  *out += "}\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTokenize(const TokenizeOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(options.tokenizer_folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<JsonlReader> reader,
                   JsonlReader::Open(options.input_file));
  LineConverter converter(*tokenizer, options.decode);
  std::vector<JsonlLine> lines;
  std::string text;
  for (;;) {
    RETURN_IF_ERROR(reader->ReadBlock(&lines));
    if (lines.empty()) return absl::OkStatus();
    for (const JsonlLine& line : lines) {
      const absl::Status status =
          line.too_long ? absl::InvalidArgumentError("the line is longer than 100 MiB")
                        : converter.Convert(line.text, &text);
      if (!status.ok()) return Annotate(status, options.input_file, ":", line.number);
      if (text.size() < (1u << 20)) continue;
      std::fwrite(text.data(), 1, text.size(), out);
      text.clear();
    }
    std::fwrite(text.data(), 1, text.size(), out);
    text.clear();
  }
}

}  // namespace trainerd::engine
