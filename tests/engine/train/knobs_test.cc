// SPDX-License-Identifier: Apache-2.0
// Every key of the job file, changed alone, changes a result. The keys come from the message
// itself: a new key without a case here (or, for what the daemon does, in
// tests/integration/jobs/knobs_test.py) fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "tests/engine/train/knob_cases.h"
#include "tests/engine/train/tiny_run.h"
#include "tests/proto/contract/config/knob_fields.h"

namespace trainerd::engine {
namespace {

using testing::Case;
using testing::DoneRun;
using testing::kEnd;
using testing::ReadText;

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>(testing::AllCases());
  return *cases;
}

// Keys for which one word is all that there is: nothing can change, and any other word is refused.
bool HasOneWordAlone(const google::protobuf::FieldDescriptor& field) {
  return field.enum_type() != nullptr && trainerd::testing::ChoicesOf(field).size() == 1;
}

// Keys that the daemon acts on: the test of the running daemon walks the same file, key by key.
std::set<std::string> KeysOfTheDaemon() {
  std::set<std::string> keys;
  const std::string text =
      ReadText(TRAINERD_SOURCE_DIR + "/tests/integration/jobs/daemon_knobs.txt");
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    if (line.front() != '#') keys.insert(std::string(line));
  }
  return keys;
}

// Keys that apply only with some values of `key` (knob.only_with of them or of a group around
// them): they come and go with it.
std::set<std::string> DependentKeys(const std::string& key) {
  std::set<std::string> keys;
  for (const trainerd::testing::KnobField& knob :
       trainerd::testing::AllKnobFields(*v1::JobConfig::descriptor())) {
    v1::JobConfig config;
    std::string section;
    trainerd::testing::ForEachFieldOnPath(knob, &config, [&](auto* /*message*/, const auto& field) {
      for (const std::string& condition : KnobOf(field).only_with()) {
        if (JoinPath(section, condition.substr(0, condition.find('='))) == key)
          keys.insert(knob.path);
      }
      section = JoinPath(section, std::string(field.name()));
    });
  }
  return keys;
}

// Dotted paths in which two resolved configurations differ.
std::set<std::string> DifferentKeys(const v1::JobConfig& ours, const v1::JobConfig& theirs) {
  const auto flat = [](const v1::JobConfig& config) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    std::string text;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(config, &text, options).ok());
    return nlohmann::json::parse(text).flatten();
  };
  const auto dotted = [](const std::string& pointer) {
    std::string path, index;
    for (absl::string_view part : absl::StrSplit(pointer, '/', absl::SkipEmpty())) {
      if (int number = 0; absl::SimpleAtoi(part, &number)) {
        index = absl::StrCat("[", number, "]");
      } else {
        path = JoinPath(absl::StrCat(path, index), std::string(part));
        index.clear();
      }
    }
    return path;
  };
  const nlohmann::json a = flat(ours), b = flat(theirs);
  std::set<std::string> keys;
  for (const auto& [pointer, value] : a.items()) {
    if (!b.contains(pointer) || b[pointer] != value) keys.insert(dotted(pointer));
  }
  for (const auto& [pointer, value] : b.items()) {
    if (!a.contains(pointer)) keys.insert(dotted(pointer));
  }
  return keys;
}

std::string Conversation(const std::vector<std::pair<std::string, std::string>>& turns) {
  std::vector<std::string> messages;
  for (const auto& [question, answer] : turns) {
    messages.push_back(absl::StrCat(R"({"role": "user", "content": ")", question, R"("})"));
    messages.push_back(absl::StrCat(R"({"role": "assistant", "content": ")", answer, R"("})"));
  }
  return absl::StrCat(R"({"messages": [)", absl::StrJoin(messages, ", "), "]}\n");
}

class KnobsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempDir;
    const TempDir& folder = *folder_;
    testing::MakeTinyModel(folder / "model");
    testing::MakeTinyModel(folder / "other_model", "fp32", 8);
    std::string rows;
    for (int i = 0; i < 12; ++i) {
      std::vector<std::pair<std::string, std::string>> turns = {
          {absl::StrCat("What comes after ", i, std::string(static_cast<size_t>(i % 5) * 6, '.'),
                        "?"),
           absl::StrCat("After ", i, " comes ", i + 1)}};
      if (i % 4 == 1) turns.push_back({"And then?", absl::StrCat("Then ", i + 2)});
      if (i % 6 == 5) turns.push_back({"Is <|im_end|> a token?", "Yes"});
      rows += Conversation(turns);
    }
    testing::WriteText(folder / "train.jsonl", rows);
    testing::WriteText(folder / "bad.jsonl", rows + "{\"messages\": [}\n");
    testing::WriteConversations(folder / "other.jsonl", 12);
    testing::WriteConversations(folder / "validation.jsonl", 3);
    std::string pairs;
    for (int i = 0; i < 8; ++i) {
      absl::StrAppend(&pairs, R"({"prompt": "Say )", i, R"(:", "chosen": " yes )", i,
                      R"(", "rejected": " no"})", "\n");
    }
    testing::WriteText(folder / "pairs.jsonl", pairs);
    std::string big;
    for (int i = 0; i < 8000; ++i)
      big += Conversation({{absl::StrCat("Say number ", i), std::string(120, 'a' + i % 26)}});
    testing::WriteText(folder / "big.jsonl", big);
    WriteOddities(folder);
    testing::WriteText(folder / "prompts.jsonl", "{\"prompt\": \"What comes after 3?\"}\n");
    testing::WriteText(folder / "other_prompts.jsonl", "{\"prompt\": \"And after 9?\"}\n");
    const std::string turns =
        "{% for m in messages %}{{ '<|im_start|>' + m.role + ': ' }}{% if m.role == 'assistant' "
        "%}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content "
        "}}{% endif %}{% endfor %}";
    testing::WriteText(folder / "other.jinja", turns);
    testing::WriteText(
        folder / "marked.jinja",
        absl::StrReplaceAll(turns, {{"m.content + '<|im_end|>' }}{% endgeneration %}",
                                     "m.content }}{% endgeneration %}<|im_end|>"}}));
    testing::WriteText(folder / "thinking.jinja", "{# writes <think> #}" + turns);
    testing::WriteText(folder / "dated.jinja", "{{ strftime_now('%d %b %Y') }}" + turns);
  }
  // One row a finding, and ordinary ones; the tokenizer of lossy_model cannot spell "~".
  static void WriteOddities(const TempDir& folder) {
    const std::string repeated = "the same words, word for word, again";
    const std::string validation = Conversation({{"Seen twice?", "Yes, in both"}});
    testing::WriteText(folder / "odd_validation.jsonl", validation);
    testing::WriteText(
        folder / "odd.jsonl",
        absl::StrCat(
            validation, Conversation({{"Hi", "Hello"}}), Conversation({{"Hi", "Hello"}}),
            R"({"messages": [{"role": "user", "content": "No answer"}]})", "\n",
            R"({"id": 7, "messages": [{"role": "user", "content": "Who?", "name": "Ann"}, )"
            R"({"role": "assistant", "content": "Ann"}]})",
            "\n", Conversation({{"Nothing?", ""}}), Conversation({{repeated, repeated}}),
            Conversation({{"Bytes?", "\xEF\xBF\xBD"}}),
            Conversation({{"Twice?", "Ended<|im_end|>"}}), Conversation({{"Wave?", "~"}}),
            Conversation({{std::string(200, 'q'), "Long"}})));
    testing::MakeTinyModel(folder / "lossy_model");
    const std::string tokenizer = folder / "lossy_model/tokenizer.json";
    nlohmann::json json = nlohmann::json::parse(ReadText(tokenizer));
    ASSERT_EQ(json["model"]["vocab"].erase("~"), 1u);
    testing::WriteText(tokenizer, json.dump());
  }
  static void TearDownTestSuite() {
    runs_.clear();
    delete folder_;
    folder_ = nullptr;
  }

  // Resolved; placeholders filled in.
  static v1::ResolvedJobConfig Resolve(const std::string& overrides) {
    v1::JobConfig config;
    for (const std::string& yaml : {std::string(testing::kBaseJob), overrides}) {
      const std::string filled = absl::StrReplaceAll(yaml, {{"$DIR", folder_->path()},
                                                            {"$FIRST", Checkpoint(1)},
                                                            {"$SECOND", Checkpoint(2)},
                                                            {"$ADAPTER", Adapter(4)},
                                                            {"$OTHER_ADAPTER", Adapter(2)}});
      Merge(filled, &config);
    }
    std::vector<ConfigViolation> violations;
    v1::ResolvedJobConfig resolved =
        ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
    EXPECT_EQ(ViolationsText(violations), "") << overrides;
    return resolved;
  }

  // Keys of `yaml` over those of `config`; the first training file is changed, not added to.
  static void Merge(const std::string& yaml, v1::JobConfig* config) {
    v1::JobConfig changes;
    const YamlResult read = YamlToMessage(yaml, &changes);
    EXPECT_EQ(ViolationsText(read.violations), "") << yaml;
    if (config->data().train_size() > 0 && changes.data().train_size() > 0) {
      config->mutable_data()->mutable_train(0)->MergeFrom(changes.data().train(0));
      changes.mutable_data()->clear_train();
    }
    if (changes.optimizer().betas_size() > 0) config->mutable_optimizer()->clear_betas();
    config->MergeFrom(changes);
  }

  // A checkpoint of an ordinary run after step `step`, made once.
  static std::string Checkpoint(int64_t step) {
    static std::map<int64_t, std::string>* const made = new std::map<int64_t, std::string>;
    if (made->empty()) {
      (*made)[0] = "";  // the run below resolves a configuration, too
      const std::unique_ptr<DoneRun> run =
          Start("checkpoint: {every_steps: 1}\ntrain: {max_steps: 3}", "checkpoints");
      for (const v1::Event& event : run->ran.events.events()) {
        if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
          (*made)[event.checkpoint().checkpoint().step()] = event.checkpoint().checkpoint().path();
      }
    }
    return (*made)[step];
  }

  // The final adapter of a run with `rank`, made once.
  static std::string Adapter(int rank) {
    static std::map<int, std::string>* const made = new std::map<int, std::string>;
    if (made->emplace(rank, "").second) {  // the run below resolves a configuration, too
      (*made)[rank] = Start(absl::StrCat("lora: {r: ", rank, "}\ntrain: {max_steps: 3}"),
                            absl::StrCat("adapter-", rank))
                          ->folder +
                      "/final";
    }
    return (*made)[rank];
  }

  static std::unique_ptr<DoneRun> Start(const std::string& overrides, const std::string& name) {
    auto run = std::make_unique<DoneRun>();
    run->folder = *folder_ / absl::StrCat(name, "/run");
    std::filesystem::create_directories(run->folder);
    EXPECT_TRUE(WritePublisher(run->folder, 1).ok());
    internal::AttemptSpec spec;
    spec.set_job("jobs/0123456789ab");
    spec.set_attempt(1);
    spec.set_run_dir(run->folder);
    spec.add_devices("cpu");
    *spec.mutable_config() = Resolve(overrides);
    if (spec.config().config().has_init_from())
      spec.set_init_path(spec.config().config().init_from().checkpoint());
    RunControl control;
    run->ran.record = RunJob(spec, run->ran.events, control,
                             {.cache_folder = *folder_ / absl::StrCat(name, "/cache")});
    return run;
  }

  // Each configuration runs once, whoever asks.
  static const DoneRun& Before(const std::string& overrides) {
    std::unique_ptr<DoneRun>& run = runs_[overrides];
    if (run == nullptr) run = Start(overrides, absl::StrCat("before-", runs_.size()));
    return *run;
  }

  static inline TempDir* folder_ = nullptr;
  static inline std::map<std::string, std::unique_ptr<DoneRun>> runs_;
};

TEST_F(KnobsTest, EachKeyHasACase) {
  std::set<std::string> cases;
  for (const Case& c : Cases()) cases.insert(c.key);
  std::set<std::string> unknown = cases;
  const std::set<std::string> daemon = KeysOfTheDaemon();
  unknown.insert(daemon.begin(), daemon.end());
  EXPECT_EQ(unknown.size(), cases.size() + daemon.size()) << "a key is in both lists";
  std::vector<std::string> missing;
  std::vector<trainerd::testing::KnobField> fields =
      trainerd::testing::AllKnobFields(*v1::JobConfig::descriptor());
  fields.push_back({"labels", "", v1::JobConfig::descriptor()->FindFieldByName("labels")});
  for (const trainerd::testing::KnobField& knob : fields) {
    const bool found = unknown.erase(knob.path) > 0;
    if (!found && !HasOneWordAlone(*knob.field)) missing.push_back(knob.path);
  }
  EXPECT_TRUE(missing.empty())
      << "keys that change no compared result: " << absl::StrJoin(missing, ", ")
      << "; add a case to knob_cases.h, or to what tests/integration covers";
  EXPECT_TRUE(unknown.empty()) << "cases of keys that do not exist: "
                               << absl::StrJoin(unknown, ", ");
}

// Each word of a closed list, too: a choice that acts like another one is none.
TEST_F(KnobsTest, EachChoiceHasACase) {
  const std::set<std::string> daemon = KeysOfTheDaemon();
  for (const trainerd::testing::KnobField& knob :
       trainerd::testing::AllKnobFields(*v1::JobConfig::descriptor())) {
    if (HasOneWordAlone(*knob.field) || daemon.count(knob.path) > 0) continue;
    const v1::Knob& options = KnobOf(*knob.field);
    for (const std::string& word : trainerd::testing::ChoicesOf(*knob.field)) {
      if (word == options.default_()) continue;
      const std::string given = absl::StrCat(knob.field->name(), ": ", word);
      const bool given_by_a_case = std::any_of(Cases().begin(), Cases().end(), [&](const Case& c) {
        return c.key == knob.path && absl::StrContains(c.after, given);
      });
      // The base job's own word is what the others are compared with.
      EXPECT_TRUE(given_by_a_case || absl::StrContains(testing::kBaseJob, given))
          << "no case of " << knob.path << " gives " << word;
    }
  }
}

TEST_F(KnobsTest, EachKeyAloneChangesAResult) {
  int number = 0;
  for (const Case& c : Cases()) {
    SCOPED_TRACE(absl::StrCat(c.key, " by ", c.seen.name));
    std::set<std::string> keys =
        DifferentKeys(Resolve(c.before).config(), Resolve(c.after).config());
    for (const std::string& dependent : DependentKeys(c.key)) keys.erase(dependent);
    EXPECT_EQ(absl::StrJoin(keys, " "), c.key);
    const DoneRun& before = Before(c.before);
    const std::string seen_before = c.seen.read(before);
    const std::unique_ptr<DoneRun> after = Start(c.after, absl::StrCat("after-", ++number));
    if (c.seen.name != std::string(kEnd.name)) {
      ASSERT_EQ(before.ran.record.end(), v1::Attempt::COMPLETED)
          << before.ran.record.error().message();
      ASSERT_EQ(after->ran.record.end(), v1::Attempt::COMPLETED)
          << after->ran.record.error().message();
    }
    EXPECT_NE(c.seen.read(*after), seen_before);
  }
}

// A difference means something only if the same configuration shows none.
TEST_F(KnobsTest, SameConfigurationGivesSameResult) {
  std::map<std::string, std::unique_ptr<DoneRun>> again;
  for (const Case& c : Cases()) {
    SCOPED_TRACE(absl::StrCat(c.key, " by ", c.seen.name));
    std::unique_ptr<DoneRun>& run = again[c.before];
    if (run == nullptr) run = Start(c.before, absl::StrCat("again-", again.size()));
    EXPECT_EQ(c.seen.read(*run), c.seen.read(Before(c.before)));
  }
}

}  // namespace
}  // namespace trainerd::engine
