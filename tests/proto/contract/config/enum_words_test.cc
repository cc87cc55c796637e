// SPDX-License-Identifier: Apache-2.0
// Expectations: words as job files have always spelled them; for every enum of a configuration
// file, that its words are unique, read back and are plain YAML.
#include "proto/contract/config/enum_words.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "tests/proto/contract/config/knob_fields.h"
#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {
namespace {

using google::protobuf::EnumDescriptor;

TEST(EnumWordsTest, SpellsValuesOfConfigurationEnumsAsWords) {
  EXPECT_EQ(EnumText(v1::DataConfig::PACKING_BFD_SPLIT), "bfd_split");
  EXPECT_EQ(EnumText(v1::DataConfig::PROFILE_REGIME3), "regime3");
  EXPECT_EQ(EnumText(v1::TrainConfig::ON_NON_FINITE_FAIL), "fail");
  EXPECT_EQ(EnumText(v1::ServerConfig::LOG_LEVEL_WARNING), "warning");
  EXPECT_EQ(EnumText(v1::DataConfig::PACKING_UNSPECIFIED), "");
  EXPECT_EQ(EnumText(static_cast<v1::DataConfig::Packing>(77)), "77");
}

TEST(EnumWordsTest, KeepsNamesOfOtherEnums) {
  EXPECT_EQ(EnumText(v1::Job::RUNNING), "RUNNING");
  EXPECT_EQ(EnumText(v1::Job::STATE_UNSPECIFIED), "STATE_UNSPECIFIED");
  EXPECT_EQ(FindEnumText(*v1::Job::State_descriptor(), "RUNNING")->number(), v1::Job::RUNNING);
}

TEST(EnumWordsTest, FindsNoValueForAnotherSpelling) {
  const EnumDescriptor& packing = *v1::DataConfig::Packing_descriptor();
  for (const char* text : {"", "BFD", "PACKING_BFD", "unspecified", "2"})
    EXPECT_EQ(FindEnumText(packing, text), nullptr) << text;
  EXPECT_EQ(NoSuchEnumText(packing, "bdf"),
            "\"bdf\" is not one of none, bfd, bfd_split; did you mean \"bfd\"?");
}

TEST(EnumWordsTest, EveryConfigurationEnumHasUniqueWordsThatReadBack) {
  int enums = 0;
  for (const auto* root : {v1::JobConfig::descriptor(), v1::ServerConfig::descriptor()}) {
    for (const testing::KnobField& knob : testing::AllKnobFields(*root)) {
      const EnumDescriptor* type = knob.field->enum_type();
      if (type == nullptr) continue;
      ++enums;
      EXPECT_TRUE(absl::EndsWith(type->FindValueByNumber(0)->name(), "_UNSPECIFIED")) << knob.path;
      const std::vector<std::string> words = EnumTexts(*type);
      EXPECT_EQ(static_cast<int>(words.size()), type->value_count() - 1) << knob.path;
      EXPECT_EQ(std::set<std::string>(words.begin(), words.end()).size(), words.size());
      for (const std::string& word : words) {
        EXPECT_EQ(EnumText(*FindEnumText(*type, word)), word) << knob.path;
        EXPECT_EQ(word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
                  std::string::npos)
            << knob.path << ": " << word;
      }
    }
  }
  EXPECT_GT(enums, 20);
}

}  // namespace
}  // namespace trainerd
