// SPDX-License-Identifier: Apache-2.0
// Properties of labels and rows over random conversations and lengths. A failure prints
// the RC_PARAMS that repeat it.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>

#include "engine/data/batches/sequence_plan.h"
#include "engine/data/examples/example_pipeline.h"
#include "engine/text/unicode/nfc.h"
#include "rapidcheck.h"
#include "tests/engine/data/test_data.h"
#include "tests/engine/text/random_text.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::RandomText;

// More cases than rapidcheck's 100, unless RC_PARAMS says how many, or which one to repeat. It is
// read when the first property is checked.
const int kMoreCases = setenv("RC_PARAMS", "max_success=1000", /*overwrite=*/0);

// The golden tokenizer of Qwen3's kind (NFC, trained merges) without those added tokens that
// swallow white space: what it decodes is the NFC of what it encoded.
std::string WriteTokenizer(const TempDir& folder) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3/tokenizer.json");
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(file);
  auto& added = json["added_tokens"];
  added.erase(added.begin() + 4, added.end());
  folder.Write("model/tokenizer.json", json.dump());
  folder.Write("model/tokenizer_config.json", R"({"eos_token":"<|im_end|>"})");
  return folder.path() + "/model";
}

// The NFC of `text`, but nothing composes across an added token that is found in it, unless it is
// `whole`.
std::string Normal(const std::string& text, const Tokenizer& tokenizer, bool whole) {
  std::string normal, part;
  const auto flush = [&] {
    NormalizedText out;
    if (NeedsNfc(part)) {
      NormalizeNfc(part, &out);
      part = out.text;
    }
    normal += part;
    part.clear();
  };
  for (size_t at = 0; at < text.size();) {
    size_t size = 0;
    for (const AddedToken& token : tokenizer.added_tokens()) {
      if (whole && token.special) continue;
      if (text.compare(at, token.content.size(), token.content) == 0) size = token.content.size();
    }
    if (size > 0) {
      flush();
      normal += text.substr(at, size);
      at += size;
    } else {
      part += text[at++];
    }
  }
  flush();
  return normal;
}

struct RandomConversation {
  std::string line;               // as a row, padded for the parser
  std::string text;               // in ChatML
  std::vector<TextSpan> answers;  // of `text`: what is trained under `assistant`
  size_t size = 0;                // of the row
};

RandomConversation MakeConversation() {
  RandomConversation made;
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  const int turns = *rc::gen::inRange(1, 7);
  for (int i = 0; i < 2 * turns; ++i) {
    const std::string content = *RandomText();
    const std::string role = i % 2 == 1 ? "assistant" : "user";
    nlohmann::ordered_json message = {{"role", role}, {"content", content}};
    const bool off = role == "assistant" && *rc::gen::inRange(0, 5) == 0;
    if (off) message["train"] = false;
    messages.push_back(message);
    made.text += "<|im_start|>" + role + "\n";
    const auto begin = static_cast<uint32_t>(made.text.size());
    made.text += content + "<|im_end|>";
    if (role == "assistant" && !off) {
      made.answers.push_back({begin, static_cast<uint32_t>(made.text.size())});
    }
    made.text += "\n";
  }
  made.line = nlohmann::ordered_json{{"messages", messages}}.dump();
  made.size = made.line.size();
  made.line.resize(made.size + kJsonPadding);
  return made;
}

class LabelPropertiesTest : public ::testing::TestWithParam<v1::DataConfig::ControlTokens> {
 protected:
  const TempDir folder_;
};

// The rule (target_spans.h): a token is trained exactly if it overlaps an answer. So where a token
// reaches over the answer's beginning (the newline of the header and one that the answer begins
// with), it is trained as a whole.
TEST_P(LabelPropertiesTest, ExactlyTheTokensOfTheAnswersAreTrained) {
  v1::JobConfig config = BaseConfig(WriteTokenizer(folder_), "unused");
  config.mutable_data()->set_max_length(1 << 20);
  config.mutable_data()->set_control_tokens(GetParam());
  const bool as_text = GetParam() == v1::DataConfig::CONTROL_TOKENS_AS_TEXT;
  const TextPipeline text = *OpenTextPipeline(config);
  const std::unique_ptr<ExamplePipeline> pipeline = *ExamplePipeline::Create(config, text);
  EXPECT_TRUE(rc::check("labels", [&] {
    const RandomConversation made = MakeConversation();
    ExamplePipeline::Scratch scratch;
    const TokenRow row =
        pipeline->Process({.number = 1, .text = std::string_view(made.line).substr(0, made.size)},
                          {.keep_text = true}, &scratch);
    RC_ASSERT(!row.fault);
    RC_ASSERT(row.text == made.text);
    const TokenExample& example = row.example;
    const Encoding& encoding = scratch.encoding;
    RC_ASSERT(example.ids == encoding.ids);

    size_t answer = 0;  // the first that token i does not lie behind
    std::vector<std::vector<int32_t>> trained(made.answers.size());
    std::vector<uint32_t> begins(made.answers.size(), UINT32_MAX);
    for (size_t i = 0; i < example.ids.size(); ++i) {
      while (answer < made.answers.size() && made.answers[answer].end <= encoding.begin[i]) {
        ++answer;
      }
      const bool overlaps =
          answer < made.answers.size() && made.answers[answer].begin < encoding.end[i];
      RC_ASSERT(example.labels[i] == (overlaps ? example.ids[i] : kIgnoreIndex));
      if (!overlaps) continue;
      // Nothing reaches over the end: that is a token of its own.
      RC_ASSERT(encoding.end[i] <= made.answers[answer].end);
      // Marks that NFC reorders make offsets run back and forth.
      begins[answer] = std::min(begins[answer], encoding.begin[i]);
      trained[answer].push_back(example.ids[i]);
    }
    for (size_t i = 0; i < trained.size(); ++i) {
      const TextSpan& span = made.answers[i];
      RC_ASSERT(begins[i] <= span.begin);
      const std::string header = made.text.substr(begins[i], span.begin - begins[i]);
      RC_CLASSIFY(!header.empty(), "a token reaches over the beginning");
      RC_ASSERT(header.find_first_not_of('\n') == std::string::npos);
      constexpr size_t kEndSize = 10;
      const std::string content = made.text.substr(span.begin, span.end - span.begin - kEndSize);
      RC_ASSERT(text.tokenizer->Decode(trained[i]) ==
                header + Normal(content, *text.tokenizer, as_text) + "<|im_end|>");
      RC_ASSERT(trained[i].back() == *text.tokenizer->TokenToId("<|im_end|>"));
    }
    // What the masking check compares.
    RC_ASSERT(example.target_spans == static_cast<int32_t>(made.answers.size()));
    size_t count = 0;
    for (const auto& run : trained) count += run.size();
    RC_ASSERT(example.span_tokens == static_cast<int32_t>(count));
  }));
}

INSTANTIATE_TEST_SUITE_P(ControlTokens, LabelPropertiesTest,
                         ::testing::Values(v1::DataConfig::CONTROL_TOKENS_WARN,
                                           v1::DataConfig::CONTROL_TOKENS_AS_TEXT));

std::vector<TokenExample> RandomExamples(int longest) {
  std::vector<TokenExample> examples(*rc::gen::inRange<size_t>(1, 60));
  for (size_t i = 0; i < examples.size(); ++i) {
    TokenExample& example = examples[i];
    example.index = static_cast<int64_t>(i);
    const int length = *rc::gen::inRange(2, longest + 1);
    for (int t = 0; t < length; ++t) {
      example.ids.push_back(*rc::gen::inRange(0, 1000));
      const bool trained = *rc::gen::inRange(0, 3) == 0 || t + 1 == length;
      example.labels.push_back(trained ? example.ids.back() : kIgnoreIndex);
    }
  }
  return examples;
}

struct Packed {
  SequencePlan plan;
  int64_t untrained_pieces = 0;
};

Packed PackExamples(const v1::JobConfig& config, const TokenStore& store) {
  Findings findings(config.data());
  auto plan = PlanSequences(config, store, &findings);
  RC_ASSERT(plan.ok());
  return {*std::move(plan), findings.Count("UNTRAINED_PIECE")};
}

class PackingPropertiesTest : public ::testing::TestWithParam<v1::DataConfig::Packing> {};

v1::JobConfig RandomPackingConfig(v1::DataConfig::Packing packing) {
  v1::JobConfig config = BaseConfig("unused", "unused.jsonl");
  config.mutable_data()->set_max_length(*rc::gen::inRange(2, 40));
  config.mutable_data()->set_packing(packing);
  config.mutable_train()->set_seed(*rc::gen::arbitrary<int32_t>());
  config.mutable_train()->set_batch_size(*rc::gen::inRange(1, 5));
  config.mutable_train()->set_epochs(2);
  return config;
}

// Ids and labels of the pieces of one example, by their first token.
using PiecesOfExample = std::map<int64_t, Microbatch>;

// Pieces by example. Checks that each sequence fits and that no piece occurs twice.
std::vector<PiecesOfExample> CollectPieces(const TokenStore& store, const PackedSequences& rows,
                                           size_t num_examples, const v1::DataConfig& data) {
  std::vector<PiecesOfExample> pieces(num_examples);
  for (int64_t row = 0; row < rows.size(); ++row) {
    const Microbatch batch = *MakeMicrobatch(store, rows, {row});
    RC_ASSERT(batch.num_tokens() <= data.max_length());
    RC_ASSERT(batch.num_documents() >= 1);
    RC_ASSERT(data.packing() != v1::DataConfig::PACKING_NONE || batch.num_documents() == 1);
    for (int64_t i = 0; i < batch.num_documents(); ++i) {
      const Piece piece = rows.document(row, i);
      const auto begin = batch.cu_seqlens[static_cast<size_t>(i)];
      const auto end = batch.cu_seqlens[static_cast<size_t>(i) + 1];
      Microbatch part;
      part.ids.assign(batch.ids.begin() + begin, batch.ids.begin() + end);
      part.labels.assign(batch.labels.begin() + begin, batch.labels.begin() + end);
      RC_ASSERT(pieces[static_cast<size_t>(piece.example)].emplace(piece.begin, part).second);
    }
  }
  return pieces;
}

// Checks that the pieces are the example, cut at multiples of `max_length`. Returns how many pieces
// are missing; a missing piece must have no target.
int64_t CheckPieces(const TokenExample& example, const PiecesOfExample& pieces, int64_t max_length,
                    bool split) {
  const auto size = static_cast<int64_t>(example.ids.size());
  const int64_t step = size > max_length ? max_length : size;
  size_t found = 0;
  int64_t missing = 0;
  for (int64_t begin = 0; begin < size; begin += step) {
    const int64_t end = std::min(size, begin + step);
    const std::vector<int32_t> ids(example.ids.begin() + begin, example.ids.begin() + end);
    const std::vector<int32_t> labels(example.labels.begin() + begin, example.labels.begin() + end);
    const auto piece = pieces.find(begin);
    if (piece == pieces.end()) {
      RC_ASSERT(split);
      RC_ASSERT(std::count(labels.begin() + 1, labels.end(), kIgnoreIndex) ==
                static_cast<int64_t>(labels.size()) - 1);
      ++missing;
      continue;
    }
    ++found;
    RC_ASSERT(piece->second.ids == ids);
    RC_ASSERT(piece->second.labels == labels);
  }
  RC_ASSERT(found == pieces.size());
  return missing;
}

// Checks that `loader` trains each sequence once in `epoch`, in its order, and that `second` makes
// the same microbatches.
void CheckEpoch(const PackedSequences& rows, DataLoader& loader, DataLoader& second,
                int64_t epoch) {
  std::vector<int64_t> order = loader.EpochOrder(epoch);
  RC_ASSERT(order == second.EpochOrder(epoch));
  std::vector<int64_t> trained, expected;
  for (const int64_t row : order) {
    for (int64_t i = 0; i < rows.num_documents(row); ++i) {
      expected.push_back(rows.document(row, i).example);
    }
  }
  for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
    const auto batches = loader.Step(1 + epoch * loader.steps_per_epoch() + step);
    const auto same = second.Step(1 + epoch * loader.steps_per_epoch() + step);
    RC_ASSERT(batches.ok() && same.ok() && batches->size() == same->size());
    for (size_t i = 0; i < batches->size(); ++i) {
      RC_ASSERT((*batches)[i].ids == (*same)[i].ids);
      RC_ASSERT((*batches)[i].targets == (*same)[i].targets);
      trained.insert(trained.end(), (*batches)[i].examples.begin(), (*batches)[i].examples.end());
    }
  }
  RC_ASSERT(trained == expected);
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) RC_ASSERT(order[i] == static_cast<int64_t>(i));
  RC_ASSERT(static_cast<int64_t>(order.size()) == rows.size());
}

TEST_P(PackingPropertiesTest, TrainsEveryTokenOncePerEpochInSequencesThatFit) {
  EXPECT_TRUE(rc::check("sequences", [&] {
    const v1::JobConfig config = RandomPackingConfig(GetParam());
    const int max_length = config.data().max_length();
    const bool split = GetParam() == v1::DataConfig::PACKING_BFD_SPLIT;
    const std::vector<TokenExample> examples = RandomExamples(split ? 4 * max_length : max_length);
    const auto store = StoreOf(examples);
    const Packed packed = PackExamples(config, *store);
    const PackedSequences& rows = packed.plan.train_sequences;

    const std::vector<PiecesOfExample> pieces =
        CollectPieces(*store, rows, examples.size(), config.data());
    int64_t missing = 0;
    for (size_t i = 0; i < examples.size(); ++i) {
      missing += CheckPieces(examples[i], pieces[i], max_length, split);
    }
    RC_ASSERT(missing == packed.untrained_pieces);

    const Packed again = PackExamples(config, *store);
    DataLoader loader(*store, rows, LoaderOptions(config));
    DataLoader second(*store, again.plan.train_sequences, LoaderOptions(config));
    for (int64_t epoch = 0; epoch < 2; ++epoch) CheckEpoch(rows, loader, second, epoch);
  }));
}

INSTANTIATE_TEST_SUITE_P(Strategies, PackingPropertiesTest,
                         ::testing::Values(v1::DataConfig::PACKING_BFD,
                                           v1::DataConfig::PACKING_BFD_SPLIT,
                                           v1::DataConfig::PACKING_NONE));

// Pairs (preference) of random lengths, weights and splits: rows and validation set hold whole
// pairs, in rows of at most twice max_length, and the plan is a function of the settings.
class PairPropertiesTest : public ::testing::TestWithParam<v1::DataConfig::Packing> {};

void CountWholePairs(const TokenStore& store, const PackedSequences& rows, int64_t row_tokens,
                     std::vector<int>* times) {
  RC_ASSERT(rows.empty() || rows.is_pairs());
  for (int64_t row = 0; row < rows.size(); ++row) {
    const Microbatch batch = *MakeMicrobatch(store, rows, {row});
    RC_ASSERT(batch.is_pairs);
    RC_ASSERT(batch.num_tokens() <= row_tokens);
    const auto examples = rows.examples(row);
    RC_ASSERT(!examples.empty() && examples.size() % 2 == 0);
    for (size_t i = 0; i < examples.size(); i += 2) {
      RC_ASSERT(examples[i] % 2 == 0);
      RC_ASSERT(examples[i + 1] == examples[i] + 1);
      ++(*times)[examples[i] / 2];
    }
  }
}

TEST_P(PairPropertiesTest, PairsAreWholeInEveryRow) {
  EXPECT_TRUE(rc::check("pairs", [&] {
    v1::JobConfig config = RandomPackingConfig(GetParam());
    config.mutable_preference();
    const double weight = *rc::gen::element(1.0, 1.0, 0.3, 2.0, 2.5);
    config.mutable_data()->mutable_train(0)->set_weight(weight);
    config.mutable_data()->set_validation_fraction(*rc::gen::element(0.0, 0.1, 0.5));
    const int max_length = config.data().max_length();
    std::vector<TokenExample> examples = RandomExamples(max_length);
    if (examples.size() % 2 != 0) {
      examples.push_back(examples.back());
      ++examples.back().index;
    }
    const auto store = StoreOf(examples);
    const Packed packed = PackExamples(config, *store);
    const size_t pairs = examples.size() / 2;
    std::vector<int> train(pairs, 0), validation(pairs, 0);
    CountWholePairs(*store, packed.plan.train_sequences, 2 * max_length, &train);
    CountWholePairs(*store, packed.plan.validation_rows, 2 * max_length, &validation);
    for (size_t i = 0; i < pairs; ++i) {
      RC_ASSERT(validation[i] <= 1);
      RC_ASSERT(validation[i] == 0 || train[i] == 0);
      RC_ASSERT(train[i] <= static_cast<int>(std::ceil(weight)));
      if (weight >= 1 && validation[i] == 0) RC_ASSERT(train[i] >= static_cast<int>(weight));
    }
    for (int64_t row = 0; row < packed.plan.train_sequences.size(); ++row) {
      RC_ASSERT(GetParam() != v1::DataConfig::PACKING_NONE ||
                packed.plan.train_sequences.num_documents(row) == 2);
    }
    const Packed again = PackExamples(config, *store);
    DataLoader loader(*store, packed.plan.train_sequences, LoaderOptions(config));
    DataLoader second(*store, again.plan.train_sequences, LoaderOptions(config));
    CheckEpoch(packed.plan.train_sequences, loader, second, 0);
  }));
}

INSTANTIATE_TEST_SUITE_P(Strategies, PairPropertiesTest,
                         ::testing::Values(v1::DataConfig::PACKING_BFD,
                                           v1::DataConfig::PACKING_NONE));

}  // namespace
}  // namespace trainerd::engine
