// SPDX-License-Identifier: Apache-2.0
// Expectations are written by hand from what the templates say.
#include "engine/text/chat_template.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using ::trainerd::testing::ReadText;
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

TEST(ChatTemplateTest, LeavesOutKeysThatAreNull) {
  EXPECT_EQ(SpansOf("{% for m in messages %}{{ m.content }}{{ m.name is defined }}"
                    "{% for c in m.tool_calls %}{{ c.id }}{% endfor %}{% endfor %}",
                    R"([{"role": "assistant", "content": null, "name": null,
                         "tool_calls": [{"id": "x"}]}])"),
            "[0.False][0+x]");
}

TEST(ChatTemplateTest, SpecialTokensThatTheFilesNameAreVariables) {
  TempDir folder;
  folder.Write("tokenizer.json", ReadText(TRAINERD_SOURCE_DIR +
                                          "/tests/golden/text/tokenizers/qwen3/tokenizer.json"));
  folder.Write("tokenizer_config.json",
               R"({"cls_token": "<cls>", "extra_special_tokens": {"vision_start": "<|v|>"}})");
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto t = ChatTemplate::FromSource(
      "{{ cls_token }} {{ vision_start }} {{ eos_token is defined }}", **tokenizer);
  EXPECT_EQ((*t)->Render(Json::array(), {})->text, "<cls> <|v|> False");
}

// A template in the manner of vision models: it only loops over parts.
constexpr char kParts[] =
    "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{% if part.type == 'image' %}"
    "[image]{% elif part.type == 'text' %}{{ part.text|trim }};{% endif %}{% endfor %}"
    "{% endfor %}";
// The same that also takes text.
const std::string kBoth =
    "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text|trim }};{% endfor %}{% endif %}{% endfor %}";

constexpr char kTextAndList[] = R"([{"role": "user", "content": "one"},
    {"role": "assistant", "content": [{"type": "text", "text": "two "},
                                      {"type": "text", "text": "three"}]}])";

TEST(ChatTemplateTest, GivesListsToTemplatesThatPrintThem) {
  EXPECT_EQ(SpansOf(kBoth, kTextAndList),
            "[0.<user>][0+one][1.<assistant>][1+two][1.;][1+three][1.;]");
  EXPECT_EQ(Parse(kBoth)->content_form(), ContentForm::kList);
}

TEST(ChatTemplateTest, JoinsListsForTemplatesThatDoNotPrintThem) {
  EXPECT_EQ(SpansOf("{% for m in messages %}<{{ m.content }}>{% endfor %}", kTextAndList),
            "[0.<][0+one][0.>][1.<][1+two three][1.>]");
  // This one drops content that is no text.
  const std::string drops =
      "{% for m in messages %}<{{ m.content if m.content is string else '' }}>{% endfor %}";
  EXPECT_EQ(SpansOf(drops, kTextAndList), "[0.<][0+one][0.>][1.<][1+two three][1.>]");
  EXPECT_EQ(Parse(drops)->content_form(), ContentForm::kJoinedText);
  // And this one prints the first part alone.
  EXPECT_EQ(SpansOf("{% for m in messages %}{{ m.content if m.content is string else "
                    "m.content[0].text }},{% endfor %}",
                    kTextAndList),
            "[0+one][0.,][1+two three][1.,]");
}

TEST(ChatTemplateTest, GivesTextAsOnePartToTemplatesThatPrintOnlyLists) {
  EXPECT_EQ(SpansOf(kParts, kTextAndList),
            "[0.<user>][0+one][0.;][1.<assistant>][1+two][1.;][1+three][1.;]");
}

TEST(ChatTemplateTest, GivesOnePartToTemplatesThatReadTheFirstAlone) {
  EXPECT_EQ(SpansOf("{% for m in messages %}{{ '<' + m['content'][0]['text'] + '>' }}{% endfor %}",
                    kTextAndList),
            "[0.<][0+one][0.>][1.<][1+two three][1.>]");
}

TEST(ChatTemplateTest, DecidesTheFormForEachRole) {
  const std::string source =
      "{% for m in messages %}{% if m.role == 'user' %}{% for part in m.content %}"
      "{{ part.text }};{% endfor %}{% else %}{{ m.content }}.{% endif %}{% endfor %}";
  EXPECT_EQ(SpansOf(source, kTextAndList), "[0+one][0.;][1+two three][1..]");
}

TEST(ChatTemplateTest, RendersDeveloperAsSystemWhereOnlySystemIsPrinted) {
  const char* messages =
      R"([{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}])";
  const std::string knows_system =
      "{% for m in messages %}{% if m.role == 'system' or m.role == 'user' %}"
      "<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_EQ(SpansOf(knows_system, messages), "[0.<system>][0+d][1.<user>][1+u]");
  EXPECT_EQ(SpansOf("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", messages),
            "[0.<developer>][0+d][1.<user>][1+u]");
}

TEST(ChatTemplateTest, ChoosesNamedTemplatesAsTransformersDoes) {
  const auto of = [](const std::vector<NamedTemplate>& templates) {
    return *ChatTemplate::FromTemplates(templates, TestTokenizer());
  };
  const auto text = [](const ChatTemplate& t, const Json& tools) {
    const auto rendered = t.Render(Json::array(), {.tools = tools});
    return rendered.ok() ? rendered->text : std::string(rendered.status().message());
  };
  const auto both =
      of({{"tool_use", "T{% generation %}{% endgeneration %}"}, {"default", "D"}, {"rag", "R"}});
  EXPECT_EQ(text(*both, nullptr), "D");
  EXPECT_EQ(text(*both, Json::array()), "T");
  EXPECT_FALSE(both->has_generation_marks());
  EXPECT_TRUE(both->has_generation_marks({.tools = Json::array()}));
  EXPECT_NE(both->fingerprint(), of({{"default", "D"}})->fingerprint());
  EXPECT_EQ(text(*of({{"default", "D"}, {"rag", "R"}}), Json::array()), "D");
  EXPECT_THAT(text(*of({{"tool_use", "T"}}), nullptr), HasSubstr("the conversation has no tools"));
  EXPECT_THAT(std::string(ChatTemplate::FromTemplates({{"rag", "R"}, {"x", "X"}}, TestTokenizer())
                              .status()
                              .message()),
              HasSubstr("chat templates rag, x, but none named default"));
  EXPECT_THAT(std::string(ChatTemplate::FromTemplates({{"tool_use", "{% if %}"}}, TestTokenizer())
                              .status()
                              .message()),
              HasSubstr("template tool_use: template line 1"));
}

TEST(ChatTemplateTest, RecordsWhichFieldsWereRendered) {
  const auto rendered =
      Parse("{% for m in messages %}{{ m.name }}{{ m.content }}{% endfor %}{{ tools|tojson }}")
          ->Render(Json::parse(R"([{"role": "user", "content": "a", "name": "b", "x": "c"}])"),
                   {.tools = Json::parse(R"([{"name": "f"}])")});
  ASSERT_TRUE(rendered.ok()) << rendered.status();
  EXPECT_FALSE(rendered->IsKeyRendered(0, 0));
  EXPECT_TRUE(rendered->IsKeyRendered(0, 1));
  EXPECT_TRUE(rendered->IsKeyRendered(0, 2));
  EXPECT_FALSE(rendered->IsKeyRendered(0, 3));
  EXPECT_TRUE(rendered->rendered_tools);
  EXPECT_FALSE(Parse("{{ tools is none }}{% for t in tools %}{% endfor %}")
                   ->Render(Json::array(), {.tools = Json::parse(R"([{"name": "f"}])")})
                   ->rendered_tools);
}

TEST(ChatTemplateTest, CountsToolsThatAMessagePrintsAsRendered) {
  const auto rendered =
      Parse("{% for m in messages %}{{ m.content }}{{ tools|tojson }}{% endfor %}")
          ->Render(Json::parse(R"([{"role": "user", "content": "a"}])"),
                   {.tools = Json::parse(R"([{"name": "f"}])")});
  ASSERT_TRUE(rendered.ok()) << rendered.status();
  EXPECT_TRUE(rendered->rendered_tools);
  EXPECT_EQ(Spans(*rendered), R"([0+a][0.[{"name": "f"}]])");
}

TEST(ChatTemplateTest, SeesArgumentsThatAreQuotedTwice) {
  const auto quoted = [](const std::string& expression, const char* arguments) {
    const std::string messages =
        std::string(R"([{"role": "assistant", "tool_calls": [{"function": {"arguments": )") +
        arguments + "}}]}]";
    const auto rendered =
        Parse("{% set call = messages[0].tool_calls[0].function %}{{ " + expression + " }}")
            ->Render(Json::parse(messages), {});
    EXPECT_TRUE(rendered.ok()) << rendered.status();
    return rendered.ok() && rendered->quoted_arguments;
  };
  EXPECT_TRUE(quoted("call.arguments|tojson", R"("{\"a\": 1}")"));
  EXPECT_TRUE(quoted("{'call': call}|tojson", R"(" [1]")"));
  EXPECT_FALSE(quoted("call.arguments", R"("{\"a\": 1}")"));
  EXPECT_FALSE(quoted("call.arguments|tojson", R"({"a": "{}"})"));
  EXPECT_FALSE(quoted("call.arguments|tojson", R"("Paris")"));
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
}

}  // namespace
}  // namespace trainerd::engine
