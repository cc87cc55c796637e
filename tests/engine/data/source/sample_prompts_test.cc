// SPDX-License-Identifier: Apache-2.0
// Reading the prompts file: both forms, the system prompt, and errors with their line.
#include "engine/data/source/sample_prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

TEST(SamplePromptsTest, ReadsBothForms) {
  TempDir folder;
  folder.Write("p.jsonl",
               "{\"prompt\": \"a?\", \"expected\": \"b\"}\n\n"
               "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", "
               "\"content\": \"c?\"}, "
               "{\"role\": \"assistant\", \"content\": \"d\"}, {\"role\": \"user\", \"content\": "
               "\"later\"}]}\n");
  const auto prompts = ReadSamplePrompts(folder / "p.jsonl", "");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ((*prompts)[0].question, "a?");
  EXPECT_EQ((*prompts)[0].expected, "b");
  EXPECT_EQ((*prompts)[0].messages.size(), 1u);
  EXPECT_EQ((*prompts)[1].question, "c?");
  EXPECT_EQ((*prompts)[1].expected, "d");
  EXPECT_EQ((*prompts)[1].messages.size(), 2u);
}

TEST(SamplePromptsTest, AddsSystemPromptToConversationsWithoutOne) {
  TempDir folder;
  folder.Write(
      "p.jsonl",
      "{\"prompt\": \"a?\"}\n{\"messages\": [{\"role\": \"system\", \"content\": \"own\"}, "
      "{\"role\": \"user\", \"content\": \"c?\"}]}\n");
  const auto prompts = ReadSamplePrompts(folder / "p.jsonl", "given");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_EQ((*prompts)[0].messages[0]["content"], "given");
  EXPECT_EQ((*prompts)[1].messages[0]["content"], "own");
}

TEST(SamplePromptsTest, ReportsFileAndLine) {
  TempDir folder;
  const std::string path = folder / "p.jsonl";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"prompt\": \"a\"}\nnot json\n", "p.jsonl:2: not a JSON object"},
      {"{\"question\": \"a\"}\n", "p.jsonl:1: expected {\"messages\""},
      {"{\"instruction\": \"a\", \"output\": \"b\"}\n", "p.jsonl:1: expected {\"messages\""},
      {"{\"instruction\": \"a\", \"output\": \"b\"}\n", "it has the Alpaca form"},
      {"\n{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}]}\n", "p.jsonl:2: expected"},
      {"{\"conversations\": []}\n", "it has the ShareGPT form"},
      {"{\"prompt\": [{\"role\": \"user\"}]}\n", "write a list of messages as \"messages\""},
      {"{\"question\": \"a\", \"id\": 1}\n", "it has the keys \"question\", \"id\""},
      {"{\"messages\": 3}\n", "p.jsonl:1: \"messages\" is not a list"},
      {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n",
       "no message before the first assistant message"},
      {"{\"prompt\": \"a\", \"expected\": 1}\n", "\"expected\" is not text"},
      {"\n", "contains no prompt"},
  };
  for (const auto& [text, message] : cases) {
    folder.Write("p.jsonl", text);
    const auto prompts = ReadSamplePrompts(path, "");
    ASSERT_FALSE(prompts.ok()) << text;
    EXPECT_THAT(std::string(prompts.status().message()), HasSubstr(message));
  }
  EXPECT_TRUE(absl::IsNotFound(ReadSamplePrompts(folder / "absent", "").status()));
}

TEST(SamplePromptsTest, RefusesAFileOfTrainingData) {
  TempDir folder;
  const std::string path = folder.Write("p.jsonl", "{\"prompt\": \"a\"}\n");
  std::filesystem::resize_file(path, (16 << 20) + 1);
  EXPECT_THAT(std::string(ReadSamplePrompts(path, "").status().message()),
              HasSubstr("has 16.0 MiB, more than"));
}

}  // namespace
}  // namespace trainerd::engine
