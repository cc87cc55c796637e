// SPDX-License-Identifier: Apache-2.0
// Preference records through PrepareData. Tokens are bytes and the template is ChatML, so that
// every expectation can be counted by hand.
#include <algorithm>
#include <set>

#include "engine/data/examples/example_pipeline.h"
#include "engine/data/masking_check.h"
#include "engine/data/store/token_cache_key.h"
#include "gmock/gmock.h"
#include "tests/engine/data/prepare_fixture.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Pair(const std::string& prompt, const std::string& chosen,
                 const std::string& rejected) {
  const auto list = [](const char* role, const std::string& text) {
    return nlohmann::ordered_json::array({{{"role", role}, {"content", text}}});
  };
  return nlohmann::ordered_json{{"prompt", list("user", prompt)},
                                {"chosen", list("assistant", chosen)},
                                {"rejected", list("assistant", rejected)}}
             .dump() +
         "\n";
}

std::string TextPair(const std::string& prompt, const std::string& chosen,
                     const std::string& rejected) {
  return nlohmann::ordered_json{{"prompt", prompt}, {"chosen", chosen}, {"rejected", rejected}}
             .dump() +
         "\n";
}

// `count` pairs of different lengths.
std::string NumberedPairs(int count, const std::string& name = "q") {
  std::string rows;
  for (int i = 0; i < count; ++i) {
    rows += Pair(name + std::to_string(i), std::string(static_cast<size_t>(1 + i % 7), 'a'),
                 std::string(static_cast<size_t>(1 + i % 11), 'b'));
  }
  return rows;
}

class PreparePairsTest : public PrepareFixture {
 protected:
  v1::JobConfig PairConfig(const std::string& contents) {
    v1::JobConfig config = Config(contents);
    config.mutable_preference();
    return config;
  }
  // An example of the store as text, its scored part in [ ].
  std::string Shown(const PreparedData& data, int64_t example) {
    const TokenExample tokens = *data.store->Read(example);
    std::string text;
    bool trained = false;
    for (size_t i = 0; i <= tokens.ids.size(); ++i) {
      const bool now = i < tokens.ids.size() && tokens.labels[i] != kIgnoreIndex;
      if (now != trained) text += now ? "[" : "]";
      trained = now;
      if (i == tokens.ids.size()) break;
      const int32_t id = tokens.ids[i];
      text += id == kStart ? "<" : id == kEnd ? ">" : std::string(1, static_cast<char>(id));
    }
    return text;
  }
  // Checks that every row consists of whole pairs, and returns how often each pair of the store
  // occurs.
  static std::vector<int> CountPairs(const PreparedData& data, const PackedSequences& rows) {
    std::vector<int> times(static_cast<size_t>(data.store->size()) / 2, 0);
    EXPECT_TRUE(rows.is_pairs());
    for (int64_t row = 0; row < rows.size(); ++row) {
      const auto examples = rows.examples(row);
      EXPECT_EQ(examples.size() % 2, 0u);
      for (size_t i = 0; i + 1 < examples.size(); i += 2) {
        EXPECT_EQ(examples[i] % 2, 0u);
        EXPECT_EQ(examples[i + 1], examples[i] + 1);
        ++times[examples[i] / 2];
      }
    }
    return times;
  }
};

TEST_F(PreparePairsTest, StoresTheChosenAnswerThenTheRejectedOne) {
  const auto data = Prepare(PairConfig(Pair("q", "yes", "no") + Pair("r", "1", "2")));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->store->size(), 4);
  EXPECT_EQ(Shown(*data, 0), "<user\nq>\n<assistant\n[yes>\n]");
  EXPECT_EQ(Shown(*data, 1), "<user\nq>\n<assistant\n[no>\n]");
  EXPECT_EQ(Shown(*data, 2), "<user\nr>\n<assistant\n[1>\n]");
  EXPECT_EQ(Shown(*data, 3), "<user\nr>\n<assistant\n[2>\n]");
  EXPECT_EQ(data->store->Read(2)->index, 1);
  EXPECT_EQ(data->store->Read(3)->index, 1);
  EXPECT_THAT(data->train, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(data->report.format(), "preference");
  EXPECT_EQ(data->report.examples(), 2);
  EXPECT_EQ(data->report.trained_examples(), 2);
  EXPECT_EQ(data->report.tokens().count(), 4) << "each answer has a length";
}

TEST_F(PreparePairsTest, MicrobatchesSayThatTheyArePairs) {
  for (const auto packing : {v1::DataConfig::PACKING_BFD, v1::DataConfig::PACKING_NONE}) {
    v1::JobConfig config = PairConfig(NumberedPairs(9));
    config.mutable_data()->set_packing(packing);
    config.mutable_data()->set_max_length(60);
    const auto data = Prepare(config);
    ASSERT_TRUE(data.ok()) << data.status();
    const DataLoader loader(*data->store, data->train_sequences, LoaderOptions(config));
    for (int64_t step = 1; step <= loader.steps_per_epoch(); ++step) {
      const auto batches = loader.Step(step);
      ASSERT_TRUE(batches.ok());
      for (const Microbatch& batch : *batches) {
        EXPECT_TRUE(batch.is_pairs);
        ASSERT_EQ(batch.num_documents() % 2, 0);
        if (packing == v1::DataConfig::PACKING_NONE) {
          EXPECT_LE(batch.num_documents(), 2 * config.train().batch_size());
        }
        for (size_t i = 0; i < batch.examples.size(); i += 2) {
          EXPECT_EQ(batch.examples[i], batch.examples[i + 1]);
        }
      }
    }
  }
  const v1::JobConfig other = Config(Numbered(3));
  const auto data = Prepare(other);
  EXPECT_FALSE(MakeMicrobatch(*data->store, data->train_sequences, {0})->is_pairs);
}

TEST_F(PreparePairsTest, MaxLengthBoundsEachAnswerAndARowHoldsTwice) {
  v1::JobConfig config = PairConfig(NumberedPairs(50));
  config.mutable_data()->set_max_length(40);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(CountPairs(*data, data->train_sequences), ::testing::Each(1));
  int64_t longest = 0, tokens = 0;
  for (int64_t row = 0; row < data->train_sequences.size(); ++row) {
    const Microbatch batch = *MakeMicrobatch(*data->store, data->train_sequences, {row});
    EXPECT_LE(batch.num_tokens(), 80);
    longest = std::max(longest, batch.num_tokens());
    tokens += batch.num_tokens();
  }
  EXPECT_GT(longest, 40);
  EXPECT_DOUBLE_EQ(data->report.fill(),
                   static_cast<double>(tokens) / static_cast<double>(80 * data->report.rows()));
}

TEST_F(PreparePairsTest, CutsBothAnswersOrLeavesThePairOut) {
  // The prompt has 20 tokens.
  const std::string rows = Pair("q", "0123456789", "0") + Pair("q", "01", "0") +
                           Pair("long question", "yes", "no") + Pair("q", "x", "0123456789");
  v1::JobConfig config = PairConfig(rows);
  config.mutable_data()->set_max_length(26);
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->store->size(), 6);
  EXPECT_EQ(Shown(*data, 0), "<user\nq>\n<assistant\n[012345]");
  EXPECT_EQ(Shown(*data, 1), "<user\nq>\n<assistant\n[0>\n]");
  EXPECT_EQ(Shown(*data, 5), "<user\nq>\n<assistant\n[012345]");
  EXPECT_EQ(data->report.examples(), 4);
  EXPECT_EQ(data->report.trained_examples(), 3);
  EXPECT_EQ(data->report.truncated(), 3) << "a record counts once";
  ASSERT_NE(Find(*data, "NO_TARGET"), nullptr);
  EXPECT_EQ(Find(*data, "NO_TARGET")->first_places(0), folder_.path() + "/train.jsonl:3");
  EXPECT_EQ(Find(*data, "TOO_LONG")->count(), 3);
  EXPECT_THAT(Find(*data, "TOO_LONG")->message(), HasSubstr("32 tokens"));

  config.mutable_data()->set_too_long(v1::DataConfig::TOO_LONG_SKIP);
  data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->store->size(), 2) << "one long answer takes the pair out";
  EXPECT_EQ(Shown(*data, 0), "<user\nq>\n<assistant\n[01>\n]");

  config.mutable_data()->set_too_long(v1::DataConfig::TOO_LONG_FAIL);
  EXPECT_THAT(Fault(config),
              StartsWith("train.jsonl:1: the prompt with the chosen answer has 32 tokens, "
                         "data.max_length is 26"));
  config = PairConfig(Pair("q", "x", "0123456789"));
  config.mutable_data()->set_max_length(26);
  config.mutable_data()->set_too_long(v1::DataConfig::TOO_LONG_FAIL);
  EXPECT_THAT(Fault(config), HasSubstr("with the rejected answer has 32 tokens"));
}

TEST_F(PreparePairsTest, TextsHaveNoTemplate) {
  v1::JobConfig config = PairConfig(TextPair("The sky is", " blue", " green<|im_end|>"));
  config.mutable_data()->set_system_prompt("unused");
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Shown(*data, 0), "The sky is[ blue>]");
  EXPECT_EQ(Shown(*data, 1), "The sky is[ green>]");
  EXPECT_EQ(Find(*data, "CONTROL_TOKENS"), nullptr) << "the end that TRL expects there";
}

TEST_F(PreparePairsTest, SystemPromptIsPartOfBothPrompts) {
  v1::JobConfig config = PairConfig(Pair("q", "yes", "no"));
  config.mutable_data()->set_system_prompt("s");
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Shown(*data, 0), "<system\ns>\n<user\nq>\n<assistant\n[yes>\n]");
  EXPECT_EQ(Shown(*data, 1), "<system\ns>\n<user\nq>\n<assistant\n[no>\n]");
}

TEST_F(PreparePairsTest, ReportsEqualAnswersAndDuplicatesOncePerPair) {
  v1::JobConfig config = PairConfig(Pair("q", "same", "same") + Pair("q", "a", "b") +
                                    Pair("q", "b", "a") + Pair("q", "a", "b"));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->report.trained_examples(), 4) << "trained, as by TRL";
  ASSERT_NE(Find(*data, "EQUAL_ANSWERS"), nullptr);
  EXPECT_FALSE(Find(*data, "EQUAL_ANSWERS")->error());
  EXPECT_EQ(Find(*data, "EQUAL_ANSWERS")->count(), 1);
  ASSERT_NE(Find(*data, "DUPLICATE"), nullptr);
  EXPECT_EQ(Find(*data, "DUPLICATE")->count(), 1) << "the swapped pair is another one";
  EXPECT_EQ(Find(*data, "DUPLICATE")->first_places(0), folder_.path() + "/train.jsonl:4");
}

TEST_F(PreparePairsTest, ReportsAPromptThatContinuesOtherwise) {
  v1::JobConfig config = PairConfig(Pair("q", "a", "b") + Pair("r", "a", "b"));
  EXPECT_EQ(Find(*Prepare(config), "PROMPT_DIFFERS"), nullptr);
  config.mutable_data()->set_chat_template(folder_.Write(
      "t.jinja",
      "{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\nHm. {% endif %}"));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Shown(*data, 0), "<user\nq>\n<assistant\n[a>\n]");
  ASSERT_NE(Find(*data, "PROMPT_DIFFERS"), nullptr);
  EXPECT_EQ(Find(*data, "PROMPT_DIFFERS")->count(), 2);
  EXPECT_THAT(Find(*data, "PROMPT_DIFFERS")->message(),
              StartsWith("the prompt alone ends with \"Hm. \""));
}

TEST_F(PreparePairsTest, NamesTheFieldOfABadRecord) {
  EXPECT_THAT(Fault(PairConfig(Pair("q", "a", "b") + "{\"prompt\":\"q\",\"chosen\":\"a\"}\n")),
              StartsWith("train.jsonl:2: the record has no \"rejected\"; it has the keys"));
  v1::JobConfig config = PairConfig(Pair("q", "a", "b") + Pair("q", "", "b"));
  config.mutable_data()->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_THAT(Fault(config), StartsWith("train.jsonl:2: chosen[0] is an answer of which the "
                                        "template renders no text"));
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(Prepare(config)->store->size(), 2);
  config = PairConfig(TextPair("q", "a", " \n"));
  config.mutable_data()->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_THAT(Fault(config), StartsWith("train.jsonl:1: \"rejected\" is an answer"));
  config = PairConfig(Pair("q", "a", "b<|im_start|>"));
  config.mutable_data()->set_control_tokens(v1::DataConfig::CONTROL_TOKENS_ERROR);
  EXPECT_THAT(Fault(config), StartsWith("train.jsonl:1: rejected[0] holds \"<|im_start|>\""));
  EXPECT_THAT(Fault(PairConfig(R"({"prompt":[{"role":"user","content":"q"}],"chosen":"a",)"
                               R"("rejected":[{"role":"user","content":"b"}]})")),
              HasSubstr("\"rejected\" has no message of the assistant after the prompt"));
}

TEST_F(PreparePairsTest, TrainsAnEmptyAnswerWhereThatIsAllowed) {
  v1::JobConfig config = PairConfig(Pair("q", "", "b") + TextPair("q", "a", ""));
  config.mutable_data()->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_WARN);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Shown(*data, 0), "<user\nq>\n<assistant\n[>\n]");
  EXPECT_EQ(Shown(*data, 3), "q[>]");
  EXPECT_EQ(Find(*data, "EMPTY_ANSWER")->count(), 2);
  EXPECT_TRUE(MaskingStatus(*CheckMasking(*data, config, *OpenTextPipeline(config))).ok());
}

TEST_F(PreparePairsTest, RefusesTheOtherKindOfFileWhateverBadRowsIs) {
  for (const auto bad_rows : {v1::DataConfig::BAD_ROWS_FAIL, v1::DataConfig::BAD_ROWS_SKIP}) {
    v1::JobConfig config = PairConfig(Pair("q", "a", "b") + Row("q", "a"));
    config.mutable_data()->set_bad_rows(bad_rows);
    EXPECT_THAT(Fault(config), StartsWith("train.jsonl:2: the record has the form messages; a job "
                                          "with preference trains on"));
    config = Config(Row("q", "a") + Pair("q", "a", "b"));
    config.mutable_data()->set_bad_rows(bad_rows);
    EXPECT_THAT(Fault(config), StartsWith("train.jsonl:2: the record is a pair of answers"));
    config = Config(TextPair("q", "a", "b"));
    config.mutable_data()->set_bad_rows(bad_rows);
    EXPECT_THAT(Fault(config), HasSubstr("add preference: {} to the job file"));
  }
}

TEST_F(PreparePairsTest, MixesTextsAndMessages) {
  const auto data = Prepare(PairConfig(TextPair("q", "a", "b") + Pair("q", "a", "b")));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Shown(*data, 0), "q[a>]");
  EXPECT_EQ(Shown(*data, 2), "<user\nq>\n<assistant\n[a>\n]");
}

TEST_F(PreparePairsTest, ReadsAJsonArrayAndNamesItsLines) {
  auto data =
      Prepare(PairConfig("[\n" + Pair("q", "a", "b") + ",\n" + Pair("r", "c", "d") + "]\n"));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->store->size(), 4);
  EXPECT_EQ(Shown(*data, 3), "<user\nr>\n<assistant\n[d>\n]");
  EXPECT_THAT(Fault(PairConfig("[\n" + Pair("q", "a", "b") + ",\n{\"chosen\": \"a\"}]\n")),
              StartsWith("train.jsonl:4: the record has no \"rejected\""));
}

TEST_F(PreparePairsTest, HoldsOutWholePairs) {
  for (const double fraction : {0.01, 0.1, 0.34, 0.5}) {
    v1::JobConfig config = PairConfig(NumberedPairs(41));
    config.mutable_data()->set_validation_fraction(fraction);
    const auto data = Prepare(config);
    ASSERT_TRUE(data.ok()) << data.status();
    const auto chosen = std::max<int64_t>(1, std::llround(fraction * 41));
    EXPECT_EQ(data->report.validation_examples(), chosen);
    EXPECT_EQ(data->report.trained_examples(), 41 - chosen);
    const std::vector<int> train = CountPairs(*data, data->train_sequences);
    const std::vector<int> validation = CountPairs(*data, data->validation_rows);
    for (size_t i = 0; i < train.size(); ++i) EXPECT_EQ(train[i] + validation[i], 1);
  }
}

TEST_F(PreparePairsTest, ReadsAValidationFileTheSameWay) {
  v1::JobConfig config = PairConfig(NumberedPairs(5));
  config.mutable_data()->set_validation(
      folder_.Write("val.jsonl", Pair("v", "a", "b") + Pair("q1", "aa", "bb")));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->validation, ElementsAre(10, 11, 12, 13));
  EXPECT_EQ(data->report.validation_examples(), 2);
  ASSERT_NE(Find(*data, "OVERLAP"), nullptr);
  EXPECT_EQ(Find(*data, "OVERLAP")->count(), 1) << "a pair counts once";
  EXPECT_THAT(CountPairs(*data, data->validation_rows), ElementsAre(0, 0, 0, 0, 0, 1, 1));
}

TEST_F(PreparePairsTest, WeightsChoosePairs) {
  v1::JobConfig config = PairConfig(NumberedPairs(40));
  config.mutable_data()->mutable_train(0)->set_weight(0.25);
  config.mutable_data()->add_train()->set_path(
      folder_.Write("b.jsonl", Pair("x", "y", "z") + Pair("u", "v", "w")));
  config.mutable_data()->mutable_train(1)->set_weight(3);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->report.trained_examples(), 12);
  const std::vector<int> times = CountPairs(*data, data->train_sequences);
  EXPECT_EQ(std::count(times.begin(), times.begin() + 40, 1), 10);
  EXPECT_EQ(std::count(times.begin(), times.begin() + 40, 0), 30);
  EXPECT_EQ(times[40], 3);
  EXPECT_EQ(times[41], 3);
}

// More pairs than a block of the store holds, over several files, on any number of threads.
TEST_F(PreparePairsTest, IsTheSameOnAnyNumberOfThreads) {
  v1::JobConfig config = PairConfig(NumberedPairs(1500, "a"));
  for (const char* name : {"b", "c"}) {
    config.mutable_data()->add_train()->set_path(
        folder_.Write(std::string(name) + ".jsonl", NumberedPairs(700, name)));
  }
  config.mutable_data()->set_validation_fraction(0.1);
  std::set<std::string> fingerprints, digests;
  for (const int threads : {1, 2, 5}) {
    const auto data = Prepare(config, {.num_threads = threads});
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ(data->store->size(), 5800);
    EXPECT_EQ(data->report.trained_examples(), 2610);
    fingerprints.insert(data->report.fingerprint());
    digests.insert(*FirstRowsDigest(*data, config, 1000));
    const std::vector<int> train = CountPairs(*data, data->train_sequences);
    EXPECT_EQ(std::count(train.begin(), train.end(), 1), 2610);
    for (int64_t example = 0; example < data->store->size(); example += 2) {
      const ExampleRecord chosen = *data->store->Record(example);
      const ExampleRecord rejected = *data->store->Record(example + 1);
      ASSERT_EQ(chosen.index, rejected.index);
      ASSERT_EQ(chosen.line, rejected.line);
      ASSERT_EQ(chosen.file, rejected.file);
    }
  }
  EXPECT_EQ(fingerprints.size(), 1u);
  EXPECT_EQ(digests.size(), 1u);
}

TEST_F(PreparePairsTest, CacheKnowsPairsFromConversations) {
  // A file that both kinds of job can read.
  const std::string row =
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"m"}],)"
      R"("prompt":"q","chosen":"a","rejected":"b"})"
      "\n";
  const std::string cache = folder_.path() + "/cache";
  v1::JobConfig config = Config(row);
  ASSERT_EQ(Prepare(config, {.cache_folder = cache})->store->size(), 1);
  config.mutable_preference();
  auto data = Prepare(config, {.cache_folder = cache});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_FALSE(data->from_cache);
  EXPECT_EQ(data->store->size(), 2);
  // Loss and beta change no token.
  config.mutable_preference()->set_beta(0.5);
  data = Prepare(config, {.cache_folder = cache});
  EXPECT_TRUE(data->from_cache);
  EXPECT_EQ(data->store->size(), 2);
  EXPECT_EQ(data->report.format(), "preference");
}

TEST_F(PreparePairsTest, MaskingCheckCoversBothAnswers) {
  const v1::JobConfig config = PairConfig(NumberedPairs(8));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  const TextPipeline text = *OpenTextPipeline(config);
  const auto right = CheckMasking(*data, config, text);
  ASSERT_TRUE(right.ok());
  EXPECT_TRUE(MaskingStatus(*right).ok()) << MaskingStatus(*right);
  EXPECT_THAT(right->checks(0).message(), HasSubstr("16 trained stretches"));
  EXPECT_THAT(right->checks(3).message(), HasSubstr("(preference: the two answers)"));

  // The same with the labels of one rejected answer lost.
  std::vector<TokenExample> examples;
  for (int64_t i = 0; i < data->store->size(); ++i) examples.push_back(*data->store->Read(i));
  std::fill(examples[5].labels.begin(), examples[5].labels.end(), kIgnoreIndex);
  PreparedData wrong;
  wrong.store = StoreOf(examples);
  wrong.train_sequences = data->train_sequences;
  EXPECT_FALSE(MaskingStatus(*CheckMasking(wrong, config, text)).ok());
}

}  // namespace
}  // namespace trainerd::engine
