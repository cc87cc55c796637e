// SPDX-License-Identifier: Apache-2.0
#include "engine/data/example_set.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {

ExampleSet::ExampleSet(const v1::DataConfig& config, std::string lost_bytes_example,
                       bool keep_going, Findings* findings)
    : config_(config),
      lost_bytes_example_(std::move(lost_bytes_example)),
      keep_going_(keep_going),
      findings_(findings) {}

absl::Status ExampleSet::AddFault(const RowFault& fault, const std::string& path, int64_t line) {
  ++rows_bad_;
  std::string place = absl::StrCat(path, ":", line);
  if (fault.column > 0) absl::StrAppend(&place, ":", fault.column);
  const bool fails = fault.fatal || config_.bad_rows() != "skip";
  if (!fails || keep_going_) {
    findings_->Add(fault.code, fails, place, fault.message);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      place, ": ", fault.message, fault.fatal ? "" : "; data.bad_rows: skip leaves such rows out"));
}

void ExampleSet::AddNotes(const TokenRow& row, const std::string& place) {
  const RowNotes& notes = row.notes;
  if (notes.no_assistant) {
    ++rows_without_assistant_;
    findings_->Add("NO_ASSISTANT", false, place, "the conversation has no assistant message");
  }
  if (row.left_out == LeftOut::kNoTarget) {
    ++rows_without_target_;
    findings_->Add("NO_TARGET", false, place,
                   row.truncated ? "no token to train is left within data.max_length: left out"
                                 : "no token of the row is trained: left out");
  }
  if (row.truncated) {
    const bool skipped = row.left_out == LeftOut::kTooLong;
    ++(skipped ? rows_too_long_ : rows_truncated_);
    findings_->Add("TOO_LONG", false, place,
                   absl::StrCat(row.num_tokens, " tokens, data.max_length is ",
                                config_.max_length(), skipped ? ": left out" : ": cut at the end"));
  }
  if (notes.empty_answer) {
    findings_->Add("EMPTY_ANSWER", false, place,
                   "an assistant message without text is trained: the model learns to say nothing");
  }
  if (notes.answer_in_question) {
    findings_->Add(
        "ANSWER_IN_QUESTION", false, place,
        "a trained answer stands word for word in a message before it: the model learns to "
        "copy");
  }
  if (notes.bad_encoding) {
    findings_->Add(
        "ENCODING", false, place,
        "text holds U+FFFD, a NUL, or UTF-8 that was read as Latin-1 (\"Ã©\" for \"é\"): "
        "repair the file's encoding");
  }
  if (notes.doubled_end) {
    findings_->Add(
        "DOUBLED_END", false, place,
        "an answer ends with the end-of-turn text that the template writes too: both are "
        "trained; take it out of the data");
  }
  if (notes.control_tokens) {
    findings_->Add("CONTROL_TOKENS", false, place,
                   "text of a message holds the spelling of a control token and became one: it can "
                   "forge a turn");
  }
  if (notes.lost_bytes) {
    findings_->Add(
        "LOST_BYTES", false, place,
        absl::StrCat("the tokenizer cannot spell every byte (for example ", lost_bytes_example_,
                     "): such bytes are dropped, as the reference "
                     "does"));
  }
}

absl::Status ExampleSet::Add(TokenRow row, const std::string& path, int64_t line, int32_t source) {
  ++rows_read_;
  if (row.fault) return AddFault(*row.fault, path, line);
  const std::string place = absl::StrCat(path, ":", line);
  AddNotes(row, place);
  if (row.left_out != LeftOut::kNo) return absl::OkStatus();

  if (paths_.empty() || paths_.back() != path) paths_.push_back(path);
  const FirstPlace here{.path = static_cast<int32_t>(paths_.size()) - 1, .line = line};
  if (!first_places_.emplace(row.text_hash, here).second) {
    findings_->Add("DUPLICATE", false, place,
                   absl::StrCat("the same conversation stands at ", PlaceOf(row.text_hash)));
  }
  examples_.push_back(std::move(row.example));
  infos_.push_back({.num_tokens = row.num_tokens,
                    .num_targets = row.num_targets,
                    .text_hash = row.text_hash,
                    .source = source});
  return absl::OkStatus();
}

std::string ExampleSet::PlaceOf(uint64_t text_hash) const {
  const auto found = first_places_.find(text_hash);
  if (found == first_places_.end()) return "";
  return absl::StrCat(paths_[static_cast<size_t>(found->second.path)], ":", found->second.line);
}

std::string ExampleSet::Summary() const {
  std::string text = absl::StrCat(rows_read_, " rows read");
  if (rows_bad_ > 0) absl::StrAppend(&text, ", ", rows_bad_, " bad");
  if (rows_too_long_ > 0) absl::StrAppend(&text, ", ", rows_too_long_, " longer than max_length");
  if (rows_without_target_ > 0) {
    absl::StrAppend(&text, ", ", rows_without_target_, " without a token to train (",
                    rows_without_assistant_, " of them without an assistant message)");
  }
  return text;
}

}  // namespace trainerd::engine
