// SPDX-License-Identifier: Apache-2.0
// Expectations are written by hand from what the templates say.
#include "engine/text/chat_template.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

const Tokenizer& TestTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer =
      *Tokenizer::Load(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3");
  return *tokenizer;
}

std::unique_ptr<ChatTemplate> Parse(const std::string& source) {
  auto parsed = ChatTemplate::FromSource(source, TestTokenizer());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

// "[2+some content][2.literal][-other]": message, + for content or . for the template's own text.
std::string Spans(const RenderedConversation& r) {
  std::string out;
  uint32_t at = 0;
  for (const MessageSpan& s : r.message_spans) {
    EXPECT_EQ(s.begin, at);
    EXPECT_LT(s.begin, s.end);
    at = s.end;
    out += "[" + (s.message < 0 ? "-" : std::to_string(s.message) + (s.content ? "+" : ".")) +
           r.text.substr(s.begin, s.end - s.begin) + "]";
  }
  EXPECT_EQ(at, r.text.size());
  return out;
}

std::string SpansOf(const std::string& source, const char* messages, RenderOptions options = {}) {
  const auto rendered = Parse(source)->Render(Json::parse(messages), options);
  EXPECT_TRUE(rendered.ok()) << rendered.status();
  return rendered.ok() ? Spans(*rendered) : "";
}

constexpr char kTwo[] =
    R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}])";

TEST(ChatTemplateTest, RendersChatMl) {
  const auto chatml = Parse(ChatTemplate::ChatMlSource());
  RenderOptions options;
  options.add_generation_prompt = true;
  EXPECT_EQ(chatml->Render(Json::parse(kTwo), options)->text,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_FALSE(chatml->has_generation_marks());
}

TEST(ChatTemplateTest, SaysWhichMessageEachByteCameFrom) {
  EXPECT_EQ(SpansOf(ChatTemplate::ChatMlSource(), kTwo),
            "[0.<|im_start|>user\n][0+Hi][0.<|im_end|>\n]"
            "[1.<|im_start|>assistant\n][1+Yo][1.<|im_end|>\n]");
}

TEST(ChatTemplateTest, ProvenanceSurvivesOperations) {
  const char* messages = R"([{"role": "user", "content": "  aXbXc "}])";
  const auto spans = [&](const std::string& expression) {
    return SpansOf("{% set m = messages[0] %}{{ " + expression + " }}", messages);
  };
  EXPECT_EQ(spans("'<' + m.content.strip() + '>'"), "[-<][0+aXbXc][->]");
  EXPECT_EQ(spans("m.content.split('X')[1] ~ '|' ~ m.content[2:4]"), "[0+b][-|][0+aX]");
  EXPECT_EQ(spans("m.content|trim|upper|replace('X', '--')"), "[0+A][---][0+B][---][0+C]");
  EXPECT_EQ(spans("m.content.strip().split('X')|join(', ')"), "[0+a][-, ][0+b][-, ][0+c]");
  EXPECT_EQ(spans("{'k': m.content}|tojson"), "[-{\"k\": ][0+\"  aXbXc \"][-}]");
  EXPECT_EQ(spans("m|tojson"), "[0+{\"role\": ][0.\"user\"][0+, \"content\": \"  aXbXc \"}]");
  EXPECT_EQ(spans("'%s!' % m.content"), "[0+  aXbXc ][-!]");
  EXPECT_EQ(spans("m.content[::-1]|trim"), "[0+cXbXa]");
  EXPECT_EQ(spans("(m.content ~ '\\n-')|indent(1)"), "[0+  aXbXc ][-\n -]");
}

TEST(ChatTemplateTest, LiteralsInMacrosBelongToTheMessageOfTheCaller) {
  EXPECT_EQ(
      SpansOf("{% macro show(m) %}<{{ m.content }}>{% endmacro %}"
              "start {% for m in messages %}{{ show(m) }}{% set t %}[{{ m.role }}]{% endset %}"
              "{{ t }}{% endfor %}end",
              kTwo),
      "[-start ][0.<][0+Hi][0.>[user]][1.<][1+Yo][1.>[assistant]][-end]");
}

TEST(ChatTemplateTest, LoopsInsideAMessageStayWithIt) {
  EXPECT_EQ(SpansOf("{% for m in messages %}{% for i in range(2) %}{{ i }},{% endfor %}{% endfor %}"
                    "{% for i in range(1) %}{{ i }}{% endfor %}",
                    kTwo),
            "[0.0,1,][1.0,1,][-0]");
}

TEST(ChatTemplateTest, ToolCallsAndReasoningAreContent) {
  EXPECT_EQ(
      SpansOf(
          "{% for m in messages %}<{{ m.reasoning_content }}>{% for c in m.tool_calls %}"
          "{{ c.arguments|tojson }}{% endfor %}{% endfor %}",
          R"([{"role": "assistant", "thinking": "hm", "tool_calls": [{"arguments": {"a": 1}}]}])"),
      "[0.<][0+hm][0.>][0+{\"a\": 1}]");
}

TEST(ChatTemplateTest, ContentIsNeverRunAsTemplate) {
  EXPECT_EQ(SpansOf("{{ messages[0].content }}",
                    R"([{"role": "user", "content": "{{ 7 * 7 }}{% raise %}"}])"),
            "[0+{{ 7 * 7 }}{% raise %}]");
}

TEST(ChatTemplateTest, RecordsGenerationMarks) {
  const auto marked = Parse(
      "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}"
      "{{ m.content }};{% endgeneration %}{% endif %}\n{% endfor %}");
  EXPECT_TRUE(marked->has_generation_marks());
  const auto rendered = marked->Render(Json::parse(kTwo), {});
  ASSERT_TRUE(rendered.ok());
  ASSERT_EQ(rendered->generation_spans.size(), 1u);
  const TextSpan span = rendered->generation_spans[0];
  EXPECT_EQ(rendered->text.substr(span.begin, span.end - span.begin), "Yo;");
}

TEST(ChatTemplateTest, GivesTemplatesTheirVariables) {
  RenderOptions options;
  options.tools = Json::parse(R"([{"z": 1, "a": 2}])");
  options.extra = Json::parse(R"({"enable_thinking": false})");
  options.now = "2026-01-02 03:04:05";
  const auto all = Parse(
      "{{ eos_token }} {{ pad_token }} {{ bos_token is defined }} {{ tools|tojson }} "
      "{{ enable_thinking }} {{ strftime_now('%d.%m.%Y') }} {{ documents is none }}");
  EXPECT_EQ(all->Render(Json::array(), options)->text,
            "<|im_end|> <|endoftext|> False [{\"z\": 1, \"a\": 2}] False 02.01.2026 True");
  EXPECT_EQ(Parse("{{ tools is none }}")->Render(Json::array(), {})->text, "True");
}

// A template is never recognised by its text: changed templates change what is rendered.
TEST(ChatTemplateTest, AnEditedTemplateIsRenderedAsItIs) {
  std::string source = ChatTemplate::ChatMlSource();
  source.replace(source.find("message.role"), 12, "message.role|upper");
  EXPECT_THAT(Parse(source)->Render(Json::parse(kTwo), {})->text, HasSubstr("<|im_start|>USER\n"));
}

TEST(ChatTemplateTest, ReportsErrors) {
  EXPECT_THAT(
      std::string(ChatTemplate::FromSource("a\n{% if %}", TestTokenizer()).status().message()),
      HasSubstr("template line 2, column 7"));
  const auto t = Parse("{{ raise_exception('roles must alternate') }}");
  EXPECT_THAT(std::string(t->Render(Json::array(), {}).status().message()),
              HasSubstr("roles must alternate"));
  EXPECT_THAT(std::string(t->Render(Json::object(), {}).status().message()), HasSubstr("list"));
  EXPECT_THAT(std::string(t->Render(Json::parse("[1]"), {}).status().message()),
              HasSubstr("message 0 must be an object"));
  EXPECT_NE(t->fingerprint(), Parse("x")->fingerprint());
  EXPECT_EQ(Parse("x")->fingerprint().size(), 32u);
}

}  // namespace
}  // namespace trainerd::engine
