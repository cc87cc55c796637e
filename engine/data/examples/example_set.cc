// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_set.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {

ExampleSet::ExampleSet(const v1::DataConfig& config, std::string lost_bytes_example,
                       bool keep_going, Findings* findings, TokenStoreWriter* writer)
    : config_(config),
      lost_bytes_example_(std::move(lost_bytes_example)),
      keep_going_(keep_going),
      findings_(findings),
      writer_(writer),
      first_example_(writer->size()) {}

absl::Status ExampleSet::AddFault(const RecordError& fault, RecordLocation place) {
  counters_.set_rows_bad(counters_.rows_bad() + 1);
  place.line += fault.lines_down;
  place.column = fault.column;
  const bool fails = fault.fatal || !SkipsBadRecords(config_.bad_rows());
  if (!fails || keep_going_) {
    // What is fatal does not depend on data.bad_rows.
    if (fault.fatal) {
      findings_->Add(fault.code, true, place, fault.message);
    } else {
      findings_->AddBadRecord(fault.code, fails, place, fault.message);
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(findings_->Text(place), ": ", fault.message,
                   fault.fatal ? "" : "; fix the record, or set data.bad_rows: skip"));
}

void ExampleSet::AddLength(const TokenRow& row, const RecordLocation& place) {
  const bool truncated = row.truncated || (row.rejected && row.rejected->truncated);
  const int64_t longest = std::max(row.num_tokens, row.rejected ? row.rejected->num_tokens : 0);
  if (row.left_out == LeftOut::kNoTarget) {
    counters_.set_rows_without_target(counters_.rows_without_target() + 1);
    findings_->Add("NO_TARGET", false, place,
                   truncated ? "no token to train remains within data.max_length: skipped"
                             : "no token of the record is trained: skipped");
  }
  if (truncated) {
    const bool skipped = row.left_out == LeftOut::kTooLong;
    if (skipped) {
      counters_.set_rows_too_long(counters_.rows_too_long() + 1);
    } else {
      counters_.set_rows_truncated(counters_.rows_truncated() + 1);
    }
    findings_->Add("TOO_LONG", false, place,
                   absl::StrCat(Counted(longest, "token"), ", data.max_length is ",
                                config_.max_length(), skipped ? ": skipped" : ": cut at the end"));
  }
}

void ExampleSet::AddNotes(const TokenRow& row, const RecordLocation& place) {
  const RowNotes& notes = row.notes;
  if (notes.no_assistant) {
    counters_.set_rows_without_assistant(counters_.rows_without_assistant() + 1);
    findings_->Add("NO_ASSISTANT", false, place, "the conversation has no assistant message");
  }
  AddLength(row, place);
  if (notes.empty_answer >= 0) {
    findings_->Add(
        "EMPTY_ANSWER", false, place,
        "an assistant message without text is trained: the model learns to answer nothing");
  }
  findings_->AddUnusedKeys(row.unused_keys, place);
  if (notes.answer_in_question) {
    findings_->Add(
        "ANSWER_IN_QUESTION", false, place,
        "a trained answer occurs word for word in an earlier message: the model learns to "
        "copy");
  }
  if (notes.bad_encoding) {
    findings_->Add(
        "ENCODING", false, place,
        "text contains U+FFFD, a NUL, or UTF-8 that was read as Latin-1 (\"Ã©\" for \"é\"): "
        "fix the file's encoding");
  }
  if (notes.doubled_end) {
    findings_->Add(
        "DOUBLED_END", false, place,
        "an answer ends with the end-of-turn text that the template also writes: both are "
        "trained; remove it from the data");
  }
  if (notes.control_tokens) {
    findings_->Add("CONTROL_TOKENS", false, place,
                   "text of a message spells a control token and became one: it can "
                   "forge a turn");
  }
  findings_->AddUnrenderedFields(notes.unrendered, place);
  if (notes.quoted_arguments) {
    findings_->Add("QUOTED_ARGUMENTS", false, place,
                   "the arguments of a tool call are JSON text, which the chat template quotes "
                   "again as one string; store them as a JSON object");
  }
  if (!notes.differing_prompt.empty()) {
    findings_->Add("PROMPT_DIFFERS", false, place,
                   absl::StrCat("the prompt alone ends with ",
                                ShownJson(nlohmann::ordered_json(notes.differing_prompt)),
                                ", which has other tokens or is missing where an answer follows: "
                                "the answer is scored from there on, as by TRL; end the prompt "
                                "between two words, or use a template without this difference"));
  }
  if (notes.equal_answers) {
    findings_->Add("EQUAL_ANSWERS", false, place,
                   "chosen and rejected are the same tokens: the pair teaches nothing and lowers "
                   "the accuracy that is reported; take it out");
  }
  if (notes.lost_bytes) {
    findings_->Add(
        "LOST_BYTES", false, place,
        absl::StrCat("the tokenizer cannot spell every byte (for example ", lost_bytes_example_,
                     "): such bytes are dropped, as the reference "
                     "does"));
  }
}

absl::Status ExampleSet::AddDuplicate(uint64_t text_hash, const RecordLocation& place) {
  findings_->Add("DUPLICATE", false, place, "the same conversation as");
  // Only the first one's message is shown, so only that one is worth a search.
  if (first_of_duplicates_.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<ExampleRecord> first,
                   writer_->FindText(text_hash, first_example_));
  if (first.has_value()) {
    first_of_duplicates_ = RecordLocation{.file = first->file, .line = first->line};
  }
  return absl::OkStatus();
}

absl::Status ExampleSet::Add(const TokenRow& row, const RecordLocation& place) {
  counters_.set_rows_read(counters_.rows_read() + 1);
  if (row.fault) return AddFault(*row.fault, place);
  AddNotes(row, place);
  if (row.left_out != LeftOut::kNo) return absl::OkStatus();

  if (!texts_.insert(row.text_hash).second) RETURN_IF_ERROR(AddDuplicate(row.text_hash, place));
  RETURN_IF_ERROR(Store(row, row.text_hash, place));
  return row.rejected ? Store(*row.rejected, row.text_hash, place) : absl::OkStatus();
}

absl::Status ExampleSet::Store(const TokenizedText& text, uint64_t text_hash,
                               const RecordLocation& place) {
  HashExample(text.example, &fingerprint_);
  const auto largest = std::max_element(text.example.ids.begin(), text.example.ids.end());
  if (largest != text.example.ids.end()) {
    counters_.set_largest_id(std::max(counters_.largest_id(), *largest));
  }
  counters_.set_examples(counters_.examples() + 1);
  return writer_->Add(text.example, {.text_hash = text_hash,
                                     .line = place.line,
                                     .file = static_cast<int16_t>(place.file),
                                     .tokens_before = static_cast<int32_t>(text.num_tokens)});
}

internal::TokenSetSummary::Counters ExampleSet::counters() const {
  internal::TokenSetSummary::Counters counters = counters_;
  counters.set_fingerprint(fingerprint_.Digest());
  return counters;
}

std::string RowsText(const internal::TokenSetSummary::Counters& counters) {
  std::string text = absl::StrCat(Counted(counters.rows_read(), "record"), " read");
  if (counters.rows_bad() > 0) absl::StrAppend(&text, ", ", counters.rows_bad(), " bad");
  if (counters.rows_too_long() > 0) {
    absl::StrAppend(&text, ", ", counters.rows_too_long(), " longer than max_length");
  }
  if (counters.rows_without_target() > 0) {
    absl::StrAppend(&text, ", ", counters.rows_without_target(), " without a token to train (",
                    counters.rows_without_assistant(), " of them without an assistant message)");
  }
  return text;
}

void HashExample(const TokenExample& example, Xxh3Stream* hash) {
  hash->Update(example.ids.data(), example.ids.size() * sizeof(int32_t));
  hash->Update(example.labels.data(), example.labels.size() * sizeof(int32_t));
  hash->Update(example.weights.data(), example.weights.size() * sizeof(float));
}

}  // namespace trainerd::engine
