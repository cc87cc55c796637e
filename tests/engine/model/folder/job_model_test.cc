// SPDX-License-Identifier: Apache-2.0
// What a model folder shows about a job: one change of a good folder per test.
#include "engine/model/folder/job_model.h"

#include <gmock/gmock.h>

#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using Json = nlohmann::json;

constexpr char kMarked[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

class JobModelTest : public ::testing::Test {
 protected:
  JobModelTest() { WriteTinyFolder(dir_, kMarked); }

  JobModel Open() const { return OpenJobModel(config_, {.weights_folder = dir_ / "model"}); }
  // "CODE! " for each error, "CODE " for each warning.
  std::string Codes() const {
    std::string codes;
    for (const ModelFinding& finding : Open().findings)
      codes += finding.code + (finding.status.ok() ? " " : "! ");
    return codes;
  }
  std::string Message() const {
    const JobModel model = Open();
    return model.findings.empty() ? "" : model.findings[0].message;
  }
  void ChangeConfig(const std::function<void(Json&)>& change) const {
    Json config = TinyConfig();
    change(config);
    dir_.Write("model/config.json", config.dump());
  }
  // tokenizer.json with the token <|extra|>, id 259, which has no row in the embedding.
  void AddTokenBeyondEmbedding() const {
    std::ifstream file(dir_ / "model/tokenizer.json");
    Json tokenizer = Json::parse(file);
    Json token = tokenizer["added_tokens"][0];
    token.update({{"id", 259}, {"content", "<|extra|>"}});
    tokenizer["added_tokens"].push_back(token);
    dir_.Write("model/tokenizer.json", tokenizer.dump());
  }

  const TempDir dir_;
  v1::JobConfig config_ = [this] {
    v1::JobConfig config = BaseConfig(dir_ / "model", "");
    config.mutable_data()->set_chat_template("model");
    return config;
  }();
};

TEST_F(JobModelTest, FindsNothingInAGoodFolder) {
  const JobModel model = Open();
  EXPECT_EQ(Codes(), "");
  EXPECT_TRUE(model.status().ok());
  EXPECT_EQ(model.config.vocab_size, 259);
  EXPECT_EQ(model.probe.end_of_turn, kEnd);
  EXPECT_NE(model.weights, nullptr);
}

TEST_F(JobModelTest, NamesTheFolderOfAFileAndTheFolderWithin) {
  config_.mutable_model()->set_path(dir_ / "model/config.json");
  EXPECT_EQ(OpenJobModel(config_, {}).findings[0].message,
            "not a folder: " + dir_ / "model/config.json" +
                "; set model.path to the folder of a "
                "Hugging Face model, for example " +
                dir_ / "model");
  // As in the Hub's cache.
  std::filesystem::create_directories(dir_ / "hub/models--a--b/snapshots");
  std::filesystem::rename(dir_ / "model", dir_ / "hub/models--a--b/snapshots/0123");
  config_.mutable_model()->set_path(dir_ / "hub/models--a--b");
  EXPECT_THAT(OpenJobModel(config_, {}).findings[0].message,
              HasSubstr("set model.path to " + dir_ / "hub/models--a--b/snapshots/0123" +
                        ", which has a config.json"));
  std::filesystem::create_directories(dir_ / "hub/models--a--b/snapshots/4567");
  dir_.Write("hub/models--a--b/snapshots/4567/config.json", "{}");
  EXPECT_THAT(OpenJobModel(config_, {}).findings[0].message, Not(HasSubstr("set model.path to")))
      << "it could be either";
}

TEST_F(JobModelTest, AdvisesToMergeAnAdapter) {
  std::filesystem::remove(dir_ / "model/config.json");
  dir_.Write("model/adapter_config.json", "{}");
  EXPECT_THAT(Message(), HasSubstr("it is an adapter, merge it into its base model"));
  EXPECT_THAT(Message(), HasSubstr("or set lora.adapter_path to it"));
}

TEST_F(JobModelTest, NamesAllMissingFilesAtOnce) {
  std::filesystem::remove(dir_ / "model/config.json");
  std::filesystem::remove(dir_ / "model/model.safetensors");
  EXPECT_EQ(Codes(), "MODEL_FOLDER! ");
  EXPECT_EQ(Message(),
            "model.path needs a Hugging Face model folder; " + dir_ / "model" +
                " has no config.json, no weights (model.safetensors, or "
                "model.safetensors.index.json with shards): download all files of the model into "
                "it");
  dir_.Write("model/pytorch_model.bin", "");
  EXPECT_THAT(Message(), HasSubstr("its pytorch_model.bin is not read, save the model as"));
  config_.mutable_model()->set_path(dir_ / "none/model");
  EXPECT_EQ(Codes(), "MODEL_FOLDER! ");
  EXPECT_THAT(Message(), HasSubstr("no such folder: " + dir_ / "none/model"));
}

TEST_F(JobModelTest, AdvisesOnFormatsThatAreNotRead) {
  std::filesystem::remove(dir_ / "model/tokenizer.json");
  dir_.Write("model/tokenizer.model", "");
  EXPECT_THAT(Message(), AllOf(HasSubstr("has no tokenizer.json"),
                               HasSubstr("its tokenizer.model is not read, save the tokenizer")));
  std::filesystem::remove(dir_ / "model/tokenizer.model");
  dir_.Write("model/weights.Q4_K_M.gguf", "");
  EXPECT_THAT(Message(), HasSubstr("its .gguf file is not read"));
}

TEST_F(JobModelTest, ResolvesLora) {
  config_.mutable_lora()->set_r(2);
  config_.mutable_lora()->set_alpha(8);
  config_.mutable_lora()->set_dropout(0.5);
  const JobModel model = Open();
  EXPECT_TRUE(model.status().ok()) << model.status();
  ASSERT_TRUE(model.adapter.has_value());
  EXPECT_EQ(model.adapter->targets.size(), 14u);
  EXPECT_EQ(model.adapter->dropout, 0.5);
  EXPECT_EQ(model.adapter_weights, nullptr);
  config_.mutable_lora()->add_target_modules("q_projection");
  EXPECT_EQ(Codes(), "LORA! ");
  EXPECT_THAT(Message(), HasSubstr("\"q_projection\" matches no layer"));
}

TEST_F(JobModelTest, ComparesTheAdapterToStartFromWithTheJob) {
  v1::LoraConfig& lora = *config_.mutable_lora();
  lora.set_r(2);
  lora.set_alpha(8);
  lora.add_target_modules("v_proj");
  const AdapterSpec adapter = *ResolveAdapter(lora, *ReadModelConfig(dir_ / "model"));
  dir_.Write("start/adapter_config.json", PeftConfigJson(adapter, dir_ / "model"));
  std::vector<StoredTensor> tensors;
  for (const WeightSpec& spec : AdapterWeights(adapter)) tensors.push_back({spec.name, spec.shape});
  WriteTensors(dir_ / "start/adapter_model.safetensors", tensors);
  const auto message = [&] {
    const JobModel model =
        OpenJobModel(config_, {.weights_folder = dir_ / "model", .adapter_folder = dir_ / "start"});
    for (const ModelFinding& finding : model.findings) EXPECT_EQ(finding.code, "ADAPTER");
    EXPECT_EQ(model.adapter.has_value(), model.findings.empty());
    return model.findings.empty() ? "" : model.findings[0].message;
  };
  EXPECT_EQ(message(), "");
  lora.set_alpha(4);
  lora.set_rslora(true);
  EXPECT_EQ(message(), dir_ / "start" +
                           " holds another adapter than the job describes; set lora.alpha 8 "
                           "instead of 4, lora.rslora false");
  lora.set_alpha(8);
  lora.set_rslora(false);
  lora.add_target_modules("q_proj");
  EXPECT_THAT(message(), HasSubstr("set lora.target_modules [v_proj]"));
  // The folder's own values count where the job names it.
  lora.clear_r();
  lora.clear_alpha();
  lora.clear_target_modules();
  lora.set_adapter_path(dir_ / "elsewhere");
  EXPECT_EQ(message(), "");
  std::filesystem::remove(dir_ / "start/adapter_model.safetensors");
  EXPECT_THAT(message(), HasSubstr("start has no adapter_model.safetensors"));
}

TEST_F(JobModelTest, ChecksOptimizerStateOfAnAdapter) {
  v1::LoraConfig& lora = *config_.mutable_lora();
  lora.set_r(2);
  lora.set_alpha(8);
  config_.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_SGD);
  config_.mutable_optimizer()->set_momentum(0.9);
  const AdapterSpec adapter = *ResolveAdapter(lora, *ReadModelConfig(dir_ / "model"));
  dir_.Write("start/adapter_config.json", PeftConfigJson(adapter, dir_ / "model"));
  std::vector<StoredTensor> tensors, states;
  for (const WeightSpec& spec : AdapterWeights(adapter)) {
    tensors.push_back({spec.name, spec.shape});
    states.push_back({spec.name + ".momentum_buffer", spec.shape});
  }
  WriteTensors(dir_ / "start/adapter_model.safetensors", tensors);
  const auto findings = [&] {
    return OpenJobModel(config_, {.weights_folder = dir_ / "model",
                                  .adapter_folder = dir_ / "start",
                                  .with_optimizer_state = true})
        .findings;
  };
  ASSERT_EQ(findings().size(), 1u);
  EXPECT_EQ(findings()[0].code, kNoOptimizerState);
  EXPECT_EQ(findings()[0].place, dir_ / "start");
  WriteTensors(dir_ / "start/optimizer.safetensors", states);
  EXPECT_TRUE(findings().empty());
  config_.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_ADAMW);
  EXPECT_THAT(findings()[0].message, HasSubstr("has no exp_avg"));
}

TEST_F(JobModelTest, NamesSmallFilesThatAreGitLfsPointers) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  dir_.Write("model/tokenizer.json", pointer);
  EXPECT_EQ(Codes(), "MODEL_FOLDER! ");
  EXPECT_THAT(Message(), HasSubstr("tokenizer.json: the file is a Git LFS pointer"));
  dir_.Write("model/model.safetensors", pointer);
  EXPECT_EQ(Codes(), "MODEL_FOLDER! MODEL_WEIGHTS! ");
}

TEST_F(JobModelTest, FindsErrorsOfTheConfiguration) {
  ChangeConfig([](Json& config) { config["model_type"] = "mamba2"; });
  EXPECT_EQ(Codes(), "MODEL_CONFIG! ");
  EXPECT_TRUE(absl::IsUnimplemented(Open().status()));
  EXPECT_THAT(Message(), HasSubstr("mamba2"));
  ChangeConfig([](Json& config) { config["rope_scaling"] = {{"rope_type", "yarn"}}; });
  EXPECT_THAT(Message(), HasSubstr("RoPE scaling \"yarn\""));
  ChangeConfig([](Json& config) { config["hidden_act"] = "relu2"; });
  EXPECT_THAT(Message(), HasSubstr("activation \"relu2\""));
  ChangeConfig([](Json& config) { config["quantization_config"] = {{"quant_method", "awq"}}; });
  EXPECT_THAT(Message(), HasSubstr("quantized (quantization_config: awq)"));
}

TEST_F(JobModelTest, FindsErrorsOfTheWeightsBesideThoseOfTheText) {
  ChangeConfig([](Json& config) { config["hidden_size"] = 16; });
  dir_.Write("model/tokenizer_config.json", "{\"chat_template\": \"{% if %}\"}");
  EXPECT_EQ(Codes(), "MODEL_WEIGHTS! CHAT_TEMPLATE! ");
  const JobModel model = Open();
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr("config.json requires"), HasSubstr("data.chat_template (model)")));
}

TEST_F(JobModelTest, FindsUnexpectedTensorsAndAnOwnHead) {
  std::vector<StoredTensor> tensors = TensorsOf(TinyConfig());
  tensors.push_back({"lm_head.weight", {259, 8}, 1.0F});
  tensors.push_back({"score.weight", {2, 8}});
  WriteTensors(dir_ / "model/model.safetensors", tensors);
  EXPECT_EQ(Codes(), "UNTIED_HEAD UNEXPECTED_TENSORS ");
  EXPECT_TRUE(Open().status().ok());
  EXPECT_FALSE(Open().config.tie_word_embeddings);
  tensors.push_back({"model.layers.1.self_attn.v_proj.bias", {4}});
  WriteTensors(dir_ / "model/model.safetensors", tensors);
  EXPECT_EQ(Codes(), "UNTIED_HEAD UNEXPECTED_TENSORS! UNEXPECTED_TENSORS ");
}

TEST_F(JobModelTest, FindsFreezePatternThatMatchesNothing) {
  config_.mutable_train()->add_freeze("model.layers.7.*");
  EXPECT_EQ(Codes(), "FREEZE! ");
  EXPECT_THAT(Message(), HasSubstr("train.freeze[0]: \"model.layers.7.*\" matches no"));
}

TEST_F(JobModelTest, OwnHeadCanBeFrozen) {
  config_.mutable_train()->add_freeze("lm_head.weight");
  EXPECT_EQ(Codes(), "FREEZE! ");
  std::vector<StoredTensor> tensors = TensorsOf(TinyConfig());
  tensors.push_back({"lm_head.weight", {259, 8}, 1.0F});
  WriteTensors(dir_ / "model/model.safetensors", tensors);
  EXPECT_EQ(Codes(), "UNTIED_HEAD ");
}

TEST_F(JobModelTest, WarnsOfTokensBeyondTheEmbedding) {
  AddTokenBeyondEmbedding();
  EXPECT_EQ(Codes(), "TOKEN_BEYOND_EMBEDDING ");
  EXPECT_THAT(Message(),
              HasSubstr("the embedding has 259 rows and none for \"<|extra|>\" of the tokenizer"));
}

// As Llama 2 folders to which a pad token was added. transformers loads them without a word, and
// nothing is padded here.
TEST_F(JobModelTest, PadTokenNeedsNoRowInTheEmbedding) {
  AddTokenBeyondEmbedding();
  dir_.Write("model/chat_template.jinja", kMarked);
  dir_.Write("model/tokenizer_config.json",
             R"({"eos_token": "<|im_end|>", "pad_token": "<|extra|>"})");
  EXPECT_EQ(Codes(), "");
  // Named in tokenizer_config.json alone, it gets the next id.
  dir_.Write("model/tokenizer_config.json", R"({"eos_token": "<|im_end|>", "pad_token": "[PAD]"})");
  EXPECT_THAT(Message(), AllOf(HasSubstr("none for \"<|extra|>\" of"), Not(HasSubstr("[PAD]"))));
  // A template that writes it trains it.
  dir_.Write("model/chat_template.jinja", std::string("[PAD]") + kMarked);
  EXPECT_EQ(Codes(), "TOKEN_BEYOND_EMBEDDING! ");
}

TEST_F(JobModelTest, RefusesTemplateThatWritesTokenBeyondEmbedding) {
  AddTokenBeyondEmbedding();
  dir_.Write("model/chat_template.jinja", std::string("<|extra|>") + kMarked);
  EXPECT_EQ(Codes(), "TOKEN_BEYOND_EMBEDDING! ");
  EXPECT_THAT(Message(), HasSubstr("the chat template writes the token \"<|extra|>\" (id 259), "
                                   "which has no row in the embedding of 259 rows"));
}

TEST_F(JobModelTest, FindsTemplateThatDoesNotShowTheAnswer) {
  dir_.Write("model/chat_template.jinja",
             "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
  EXPECT_EQ(Codes(), "CHAT_TEMPLATE! ");
  EXPECT_THAT(Message(), HasSubstr("(assistant): no end-of-turn token follows"));
  config_.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_ALL);
  EXPECT_EQ(Codes(), "");
  config_.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_TEMPLATE);
  EXPECT_EQ(Codes(), "CHAT_TEMPLATE! ");
  EXPECT_THAT(Message(), HasSubstr("has no {% generation %} marks"));
}

TEST_F(JobModelTest, AcceptsTemplateThatRequiresASystemMessage) {
  dir_.Write("model/chat_template.jinja",
             std::string("{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}"
                         "{% endif %}") +
                 kMarked);
  EXPECT_EQ(Codes(), "");
  EXPECT_EQ(Open().probe.end_of_turn, kEnd);
}

// Each piece of advice is followed until nothing is found.
TEST_F(JobModelTest, FolderWithoutTemplateIsUsableWithTheAdvisedChatMl) {
  WriteTinyFolder(dir_, "");
  EXPECT_EQ(Codes(), "CHAT_TEMPLATE! ");
  EXPECT_THAT(Message(), HasSubstr("set data.chat_template: chatml"));
  config_.mutable_data()->set_chat_template("chatml");
  EXPECT_EQ(Codes(), "");
  EXPECT_EQ(Open().probe.end_of_turn, kEnd);
}

TEST_F(JobModelTest, ChatMlEndsTurnsWithTheEndTokenOfOtherTokenizers) {
  std::ifstream file(dir_ / "model/tokenizer.json");
  std::string tokenizer{std::istreambuf_iterator<char>(file), {}};
  tokenizer.replace(tokenizer.find("<|im_end|>"), 10, "<|other1|>");
  dir_.Write("model/tokenizer.json", tokenizer);
  dir_.Write("model/tokenizer_config.json", "{\"eos_token\": \"<|endoftext|>\"}");
  config_.mutable_data()->set_chat_template("chatml");
  EXPECT_EQ(Codes(), "");
  EXPECT_EQ(Open().probe.end_of_turn, kEndOfText);
  // Without an end token, the advice is to name one.
  dir_.Write("model/tokenizer_config.json", "{}");
  EXPECT_EQ(Codes(), "CHAT_TEMPLATE! ");
  EXPECT_THAT(Message(), AllOf(HasSubstr("set eos_token in its tokenizer_config.json"),
                               Not(HasSubstr("set data.chat_template: chatml"))));
  dir_.Write("model/tokenizer_config.json", "{\"eos_token\": \"<|other1|>\"}");
  EXPECT_EQ(Codes(), "");
}

TEST_F(JobModelTest, WarnsOfMaxLengthBeyondThePositions) {
  config_.mutable_data()->set_max_length(512);
  EXPECT_EQ(Codes(), "");
  config_.mutable_data()->set_max_length(513);
  EXPECT_EQ(Codes(), "MAX_LENGTH ");
  EXPECT_THAT(Message(), HasSubstr("data.max_length 513 exceeds the 512 positions"));
}

TEST_F(JobModelTest, ChecksWeightsInTheFolderToStartFrom) {
  std::filesystem::create_directories(dir_ / "start");
  std::filesystem::rename(dir_ / "model/model.safetensors", dir_ / "start/model.safetensors");
  EXPECT_EQ(OpenJobModel(config_, {.weights_folder = dir_ / "start"}).findings.size(), 0u);
  EXPECT_EQ(OpenJobModel(config_, {}).findings.size(), 0u) << "the weights are not checked";
  const JobModel model = OpenJobModel(config_, {.weights_folder = dir_ / "absent"});
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr(dir_ / "absent has no weights"), HasSubstr("put the folder back")));
}

// optimizer.safetensors with the states of all weights, but for those of which `frozen` is part of
// the name.
void WriteOptimizerState(const TempDir& dir, const std::string& frozen,
                         const std::vector<std::string>& states) {
  std::vector<StoredTensor> tensors;
  for (const StoredTensor& weight : TensorsOf(TinyConfig())) {
    if (!frozen.empty() && weight.name.find(frozen) != std::string::npos) continue;
    for (const std::string& state : states) {
      tensors.push_back(weight);
      tensors.back().name += "." + state;
    }
  }
  WriteTensors(dir / "model/optimizer.safetensors", tensors);
}

TEST_F(JobModelTest, ChecksTheOptimizerStateOfACheckpoint) {
  const auto message = [&] {
    const JobModel model =
        OpenJobModel(config_, {.weights_folder = dir_ / "model", .with_optimizer_state = true});
    return model.findings.empty() ? "" : model.findings[0].code + " " + model.findings[0].message;
  };
  config_.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_ADAMW);
  EXPECT_THAT(message(), AllOf(HasSubstr("OPTIMIZER_STATE "), HasSubstr("has no optimizer state;"),
                               HasSubstr("init_from.state: weights")));
  WriteOptimizerState(dir_, "", {"exp_avg", "exp_avg_sq"});
  EXPECT_EQ(message(), "");
  WriteOptimizerState(dir_, "", {"exp_avg"});
  EXPECT_THAT(message(), HasSubstr("has no exp_avg_sq: the checkpoint is from a job with another"));
  WriteOptimizerState(dir_, "k_proj", {"exp_avg", "exp_avg_sq"});
  EXPECT_THAT(message(), HasSubstr("k_proj.weight; the checkpoint's job froze"));
  config_.mutable_train()->add_freeze("*.k_proj.weight");
  EXPECT_EQ(message(), "");
  config_.mutable_train()->add_freeze("*.q_proj.weight");
  EXPECT_EQ(message(), "") << "more may be frozen than before";
  config_.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_SGD);
  EXPECT_EQ(message(), "") << "without momentum there is no state";
  config_.mutable_optimizer()->set_momentum(0.9);
  EXPECT_THAT(message(), HasSubstr("has no momentum_buffer"));
  // One error, one finding.
  ChangeConfig([](Json& config) { config["hidden_size"] = 16; });
  EXPECT_THAT(message(), HasSubstr("MODEL_WEIGHTS "));
  EXPECT_EQ(OpenJobModel(config_, {.weights_folder = dir_ / "model", .with_optimizer_state = true})
                .findings.size(),
            1u);
}

}  // namespace
}  // namespace trainerd::engine
