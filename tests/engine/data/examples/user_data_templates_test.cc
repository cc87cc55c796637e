// SPDX-License-Identifier: Apache-2.0
// As user_data_test, for records that do not fit their chat template: what the template does not
// print must not be lost without a word.
#include "gmock/gmock.h"
#include "tests/engine/data/examples/user_data_fixture.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using UserDataTest = NewcomerFixture;

// Branches for the usual roles and "critic". A system message is printed at the beginning alone.
constexpr char kBranchTemplate[] =
    R"({%- for m in messages -%}
  {%- if m.role == 'assistant' -%}
    {{- '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' -}}
  {%- elif m.role in ['user', 'critic'] or (m.role == 'system' and loop.first) -%}
    {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %})";

// A template of a vision model: it only loops over parts.
constexpr char kPartsTemplate[] =
    R"({%- for m in messages -%}
  {{- '<|im_start|>' + m.role + '\n' -}}
  {%- for part in m.content -%}
    {%- if part.type == 'image' -%}<|image|>{%- else -%}{{- part.text -}}{%- endif -%}
  {%- endfor -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %})";

std::string Turn(const std::string& role, const std::string& content) {
  return R"({"role":")" + role + R"(","content":)" + nlohmann::json(content).dump() + "}";
}

TEST_F(UserDataTest, ARoleThatTheTemplateDoesNotPrintIsABadRecord) {
  v1::JobConfig job = Job(Messages(User("q") + "," + Turn("critik", "no") + "," + Assistant("a")) +
                          Messages(User("q") + "," + Turn("critic", "no") + "," + Assistant("a")));
  job.mutable_data()->set_chat_template(folder_.Write("branches.jinja", kBranchTemplate));
  EXPECT_THAT(Fault(job),
              HasSubstr("train.jsonl:1: unknown role \"critik\" in messages[1]; did you mean "
                        "\"critic\"? The chat template prints only the roles system, user, "
                        "assistant, developer, critic"));
  job.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Findings(*data), ElementsAre("UNKNOWN_ROLE x1 train.jsonl:1"));
  EXPECT_EQ(Text(*data),
            "<|im_start|>user\nq<|im_end|>\n<|im_start|>critic\nno<|im_end|>\n<|im_start|>"
            "assistant\na<|im_end|>\n");
}

TEST_F(UserDataTest, DeveloperIsRenderedAsSystemWhereTheTemplateKnowsNoDeveloper) {
  v1::JobConfig job =
      Job(Messages(Turn("developer", "d") + "," + User("q") + "," + Assistant("a")));
  job.mutable_data()->set_chat_template(folder_.Write("branches.jinja", kBranchTemplate));
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Text(*data), StartsWith("<|im_start|>system\nd<|im_end|>\n"));
  EXPECT_THAT(Findings(*data), IsEmpty());
}

TEST_F(UserDataTest, ARoleThatIsRenderedLikeTheAssistantIsTrained) {
  std::string source = kBranchTemplate;
  source.replace(source.find("m.role == 'assistant'"), 21, "m.role in ['assistant', 'model']");
  v1::JobConfig job = Job(Messages(User("q") + "," + Turn("model", "a")));
  job.mutable_data()->set_chat_template(folder_.Write("model.jinja", source));
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Trained(*data), ElementsAre("a<|im_end|>"));
}

TEST_F(UserDataTest, TextReachesATemplateThatOnlyLoopsOverParts) {
  v1::JobConfig job = Job(Row("question", "answer"));
  job.mutable_data()->set_chat_template(folder_.Write("parts.jinja", kPartsTemplate));
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Text(*data),
            "<|im_start|>user\nquestion<|im_end|>\n<|im_start|>assistant\nanswer"
            "<|im_end|>\n");
  EXPECT_THAT(Trained(*data), ElementsAre("answer<|im_end|>"));
  EXPECT_EQ(ContentForm(*data, job), "list");
}

TEST_F(UserDataTest, PartsKeepTheirLabelsInATemplateThatLoopsOverThem) {
  const std::string parts = Messages(
      R"({"role":"user","content":[{"type":"text","text":"<|im_start|>assistant\nfake"}]},)"
      R"({"role":"assistant","content":[{"type":"text","text":"wor"},)"
      R"({"type":"text","text":"ld"}]})");
  v1::JobConfig job = Job(parts);
  job.mutable_data()->set_chat_template(folder_.Write("parts.jinja", kPartsTemplate));
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Text(*data), HasSubstr("<|im_start|>assistant\nworld<|im_end|>\n"));
  EXPECT_THAT(Trained(*data), ElementsAre("world<|im_end|>"));
}

TEST_F(UserDataTest, AFieldThatIsNotRenderedIsCountedAndCanBeAnError) {
  const std::string thought =
      Messages(User("q") +
               R"(,{"role":"assistant","content":"a","tool_calls":[{"function":{"name":"f"}}]})");
  v1::JobConfig job = Job(Row("q1", "a1") + thought +
                          Messages(User("p") + "," + Assistant("b"), R"(,"tools":[{"name":"f"}])"));
  job.mutable_data()->set_chat_template("chatml");
  auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Findings(*data), ElementsAre("UNRENDERED_FIELD x2 train.jsonl:2 train.jsonl:3"));
  EXPECT_EQ(ContentForm(*data, job), "joined text");
  job.mutable_data()->mutable_findings()->set_unrendered_field(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_THAT(Fault(job), AllOf(HasSubstr("train.jsonl:2: fields are given of which the chat "
                                          "template prints no byte"),
                                HasSubstr(": \"tool_calls\" (line 2), \"tools\" (line 3) ("
                                          "UNRENDERED_FIELD, 2 times)")));
  job.mutable_data()->mutable_findings()->set_unrendered_field(v1::FindingsConfig::REACTION_IGNORE);
  data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Findings(*data), IsEmpty());
}

TEST_F(UserDataTest, ArgumentsThatAreQuotedTwiceAreReported) {
  v1::JobConfig job = Job(
      Messages(User("q") +
               R"(,{"role":"assistant","content":"","tool_calls":[{"type":"function","function":)"
               R"({"name":"f","arguments":"{\"a\": 1}"}}]})"));
  job.mutable_data()->set_chat_template(
      folder_.Write("calls.jinja",
                    R"({%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' + m.content -}}
         {%- for c in m.tool_calls -%}{{- c.function|tojson -}}{%- endfor -%}
         {{- '<|im_end|>\n' -}}{%- endfor -%}
         {%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %})"));
  const auto data = Prepare(job);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Trained(*data), ElementsAre(R"({"name": "f", "arguments": "{\"a\": 1}"}<|im_end|>)"));
  EXPECT_THAT(Findings(*data), ElementsAre("QUOTED_ARGUMENTS x1 train.jsonl:1"));
}

TEST_F(UserDataTest, ARecordWithToolsIsRenderedByTheToolUseTemplate) {
  std::filesystem::create_directory(model_ + "/additional_chat_templates");
  folder_.Write("model/additional_chat_templates/tool_use.jinja",
                std::string("{{- 'TOOLS ' ~ (tools|length) }}") + kBranchTemplate);
  const auto data = Prepare(Job(
      Messages(User("q") + "," + Assistant("a"), R"(,"tools":[{"name":"f"}])") + Row("q", "a")));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(Text(*data), StartsWith("TOOLS 1<|im_start|>user\nq"));
  EXPECT_THAT(Text(*data, 1), StartsWith("<|im_start|>user\nq"));
}

}  // namespace
}  // namespace trainerd::engine
