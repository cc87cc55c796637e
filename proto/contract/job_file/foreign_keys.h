// SPDX-License-Identifier: Apache-2.0
// What the keys of other fine-tuning tools (TRL and the Trainer of transformers, Axolotl,
// LLaMA-Factory, Unsloth, torchtune) are called in a job file, or why a job file has none.
#pragma once

#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace trainerd {

// One row of the table in foreign_keys.cc: add a key there, and the messages and tests follow.
struct ForeignKeys {
  // Keys of other tools, separated by spaces, in lower case with underscores.
  std::string_view keys;
  // Dotted path of the key of the job file that stands for them; empty = there is none.
  std::string_view ours;
  // What differs, or what to do where there is no such key; may be empty beside `ours`.
  std::string_view note;
};

absl::Span<const ForeignKeys> ForeignKeyTable();

// The row of `key`; case and - for _ do not count. Null if no row has it.
const ForeignKeys* FindForeignKey(std::string_view key);

// "write train.epochs", "write schedule.warmup_steps (…)", or the note alone.
std::string ForeignKeyAdvice(const ForeignKeys& row);

}  // namespace trainerd
