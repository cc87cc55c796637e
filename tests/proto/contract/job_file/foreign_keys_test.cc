// SPDX-License-Identifier: Apache-2.0
// The table against the description of the job file, and messages as a user sees them.
#include "proto/contract/job_file/foreign_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_split.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Words(std::string_view text) {
  return absl::StrSplit(absl::string_view(text.data(), text.size()), ' ');
}

bool IsKey(const std::string& path) {
  const Descriptor* section = v1::JobConfig::descriptor();
  const FieldDescriptor* field = nullptr;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(path, '.'))) {
    if (section == nullptr) return false;
    field = section->FindFieldByName(name);
    if (field == nullptr) return false;
    section = field->message_type();
  }
  return true;
}

void CollectKeys(const Descriptor& section, std::set<std::string>* keys) {
  for (int i = 0; i < section.field_count(); ++i) {
    const FieldDescriptor& field = *section.field(i);
    keys->insert(std::string(field.name()));
    if (field.message_type() != nullptr && field.message_type()->file() == section.file())
      CollectKeys(*field.message_type(), keys);
  }
}

std::string Faults(const std::string& yaml) {
  v1::JobConfig config;
  return ViolationsText(YamlToMessage(yaml, &config).violations, "f");
}

TEST(ForeignKeysTest, EveryRowNamesAKeyOfTheJobFileOrWhatToDo) {
  for (const ForeignKeys& row : ForeignKeyTable()) {
    SCOPED_TRACE(std::string(row.keys));
    if (row.ours.empty()) {
      EXPECT_FALSE(row.note.empty());
    } else {
      EXPECT_TRUE(IsKey(std::string(row.ours))) << row.ours;
    }
  }
}

TEST(ForeignKeysTest, EveryWordIsListedOnceAndIsNoKeyOfTheJobFile) {
  std::set<std::string> ours;
  CollectKeys(*v1::JobConfig::descriptor(), &ours);
  std::set<std::string> seen;
  for (const ForeignKeys& row : ForeignKeyTable()) {
    for (const std::string& word : Words(row.keys)) {
      EXPECT_TRUE(seen.insert(word).second) << word << " is listed twice";
      EXPECT_EQ(ours.count(word), 0u) << word;
      EXPECT_EQ(FindForeignKey(word), &row);
    }
  }
  EXPECT_EQ(FindForeignKey("no_such_word"), nullptr);
  EXPECT_EQ(FindForeignKey("Num-Train-Epochs"), FindForeignKey("num_train_epochs"));
}

TEST(ForeignKeysTest, NamesOurKeyAtEachLevel) {
  EXPECT_EQ(Faults("gradient_accumulation_steps: 4"),
            "f:1: gradient_accumulation_steps: unknown key \"gradient_accumulation_steps\" at the "
            "top level; write train.gradient_accumulation (microbatches per step)");
  for (const char* yaml : {"num_epochs: 3", "train: {num_epochs: 3}", "train:\n  num_epochs: 3",
                           "optimizer: {num_epochs: 3}", "checkpoint: {num_epochs: 3}"})
    EXPECT_THAT(Faults(yaml), HasSubstr("; write train.epochs")) << yaml;
  EXPECT_THAT(Faults("optimizer: {lr: 1e-4}"), HasSubstr("; write optimizer.learning_rate"));
  EXPECT_THAT(Faults("model: {model_name_or_path: m}"), HasSubstr("; write model.path"));
  EXPECT_THAT(Faults("model: {load_in_4bit: true}"),
              HasSubstr("; write model.quantization (nf4, with lora)"));
  EXPECT_THAT(Faults("lora_r: 16"), HasSubstr("; write lora.r"));
  EXPECT_THAT(Faults("dpo: {beta: 0.1}"), HasSubstr("; write preference (DPO on records "));
  EXPECT_THAT(Faults("preference: {loss_type: ipo}"),
              HasSubstr("; write preference.loss (sigmoid or ipo)"));
  EXPECT_THAT(Faults("adapter: lora"), HasSubstr("; write lora (for example lora: {r: 16, "));
}

TEST(ForeignKeysTest, ReportsWhatDoesNotExist) {
  EXPECT_THAT(Faults("use_dora: true"), HasSubstr("this form of adapter does not exist"));
  EXPECT_THAT(Faults("model: {load_in_8bit: true}"),
              HasSubstr("model.quantization: nf4 is the only one, with lora"));
  EXPECT_THAT(Faults("grpo: {}"), HasSubstr("reinforcement learning does not exist"));
  EXPECT_THAT(Faults("report_to: wandb"), HasSubstr("trainctl watch JOB"));
}

TEST(ForeignKeysTest, IsUsedForSetAndNotForOtherConfigurations) {
  v1::JobConfig config;
  EXPECT_THAT(ViolationsText(SetField("micro_batch_size", "2", &config).violations),
              HasSubstr("write train.batch_size"));
  v1::ModelConfig other;
  EXPECT_THAT(ViolationsText(YamlToMessage("micro_batch_size: 2", &other).violations),
              Not(HasSubstr("train.batch_size")));
}

TEST(ForeignKeysTest, ListsTheKeysOfASectionOnce) {
  const std::string faults =
      Faults("zzzz: 1\nyyyy: 2\nlora_r: 8\nmodel:\n  qqqqq: 1\n  wwwww: 2\n");
  const std::string top = "the keys are name, labels";
  ASSERT_NE(faults.find(top), std::string::npos);
  EXPECT_EQ(faults.find(top), faults.rfind(top)) << faults;
  EXPECT_EQ(faults.find("the keys are path"), faults.rfind("the keys are path")) << faults;
  EXPECT_THAT(faults, HasSubstr("f:2: yyyy: unknown key \"yyyy\" at the top level\n"));
}

}  // namespace
}  // namespace trainerd
