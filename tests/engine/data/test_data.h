// SPDX-License-Identifier: Apache-2.0
// Files, a tokenizer of single bytes and a job configuration for the tests of engine/data.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/prepare.h"
#include "engine/data/store/token_store_writer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/temp_dir.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// UTF-8 of the symbol that byte-level BPE writes for a byte.
inline std::string ByteSymbol(int byte) {
  int code = byte;
  const auto plain = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  if (!plain(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += !plain(b);
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

// Ids of the special tokens of WriteByteTokenizer; a byte's id is the byte.
inline constexpr int32_t kEndOfText = 256, kStart = 257, kEnd = 258;

// A model folder without weights: every byte is a token, and ChatML's control tokens.
// `template_source` = "" writes none.
inline std::string WriteByteTokenizer(const TempDir& folder, const std::string& template_source) {
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[ByteSymbol(byte)] = byte;
  nlohmann::json added = nlohmann::json::array();
  const char* names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int i = 0; i < 3; ++i) {
    added.push_back({{"id", 256 + i},
                     {"content", names[i]},
                     {"special", true},
                     {"normalized", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"single_word", false}});
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", false},
                                     {"use_regex", true}};
  const nlohmann::json file = {{"version", "1.0"},
                               {"truncation", nullptr},
                               {"padding", nullptr},
                               {"added_tokens", added},
                               {"normalizer", nullptr},
                               {"pre_tokenizer", byte_level},
                               {"post_processor", nullptr},
                               {"decoder", byte_level},
                               {"model",
                                {{"type", "BPE"},
                                 {"dropout", nullptr},
                                 {"unk_token", nullptr},
                                 {"continuing_subword_prefix", nullptr},
                                 {"end_of_word_suffix", nullptr},
                                 {"fuse_unk", false},
                                 {"byte_fallback", false},
                                 {"ignore_merges", false},
                                 {"vocab", vocabulary},
                                 {"merges", nlohmann::json::array()}}}};
  folder.Write("model/tokenizer.json", file.dump());
  nlohmann::json config = {{"eos_token", "<|im_end|>"}, {"pad_token", "<|endoftext|>"}};
  if (!template_source.empty()) config["chat_template"] = template_source;
  folder.Write("model/tokenizer_config.json", config.dump());
  folder.Write("model/config.json", "{}");
  return folder.path() + "/model";
}

// The resolved configuration that the tests start from.
inline v1::JobConfig BaseConfig(const std::string& model, const std::string& train) {
  v1::JobConfig config;
  config.mutable_model()->set_path(model);
  v1::DataConfig* data = config.mutable_data();
  if (!train.empty()) data->add_train()->set_path(train);
  data->set_max_length(256);
  data->set_too_long(v1::DataConfig::TOO_LONG_TRUNCATE);
  data->set_bad_rows(v1::DataConfig::BAD_ROWS_FAIL);
  data->set_packing(v1::DataConfig::PACKING_BFD);
  data->set_shuffle(true);
  data->set_profile(v1::DataConfig::PROFILE_NONE);
  data->set_chat_template("chatml");
  data->set_train_on(v1::DataConfig::TRAIN_ON_ASSISTANT);
  data->set_control_tokens(v1::DataConfig::CONTROL_TOKENS_WARN);
  data->set_now("2026-01-02 03:04:05");
  v1::TrainConfig* train_config = config.mutable_train();
  data->set_cache(true);
  data->set_cache_limit(20000);
  train_config->set_batch_size(2);
  train_config->set_gradient_accumulation(2);
  train_config->set_epochs(1);
  train_config->set_seed(42);
  return config;
}

// {"messages": […]} of a question and an answer.
inline std::string Row(const std::string& question, const std::string& answer) {
  const nlohmann::ordered_json row = {
      {"messages",
       {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", answer}}}}};
  return row.dump() + "\n";
}

// A store of `examples` in memory, all of them training examples.
inline std::unique_ptr<TokenStore> StoreOf(const std::vector<TokenExample>& examples) {
  TokenStoreWriter writer(StoreFile::Unnamed({.scratch_folder = ""}),
                          {.id_bytes = 4, .key = std::string(kStoreKeyBytes, 'k')});
  for (const TokenExample& example : examples) {
    const absl::Status added =
        writer.Add(example, {.tokens_before = static_cast<int32_t>(example.ids.size())});
    EXPECT_TRUE(added.ok()) << added;
  }
  internal::TokenSetSummary summary;
  summary.mutable_train()->set_examples(writer.size());
  absl::StatusOr<std::unique_ptr<TokenStore>> store = writer.Finish(summary);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

// The i-th training example.
inline TokenExample TrainExample(const PreparedData& data, size_t i) {
  absl::StatusOr<TokenExample> example = data.store->Read(data.train.at(i));
  EXPECT_TRUE(example.ok()) << example.status();
  return *std::move(example);
}

// Rows of whole examples.
inline PackedSequences RowsOf(const std::vector<std::vector<uint32_t>>& rows) {
  PackedSequences packed;
  for (const std::vector<uint32_t>& row : rows) packed.AddRow(row);
  return packed;
}

}  // namespace trainerd::engine
