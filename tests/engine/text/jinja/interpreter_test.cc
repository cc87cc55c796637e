// SPDX-License-Identifier: Apache-2.0
// Expected texts: tests/golden/text/make_template_goldens.py, transformers 5.23.0 with
// jinja2 3.1.6.
#include "engine/text/jinja/interpreter.h"

#include "engine/text/jinja/syntax/parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine::jinja {
namespace {

using ::testing::HasSubstr;
using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> Render(const std::string& source,
                                   const Json& variables = Json::object(),
                                   const std::string& now = "", const Limits& limits = {}) {
  auto parsed = Parse(source);
  if (!parsed.ok()) return parsed.status();
  Interpreter interpreter(**parsed, now, limits);
  for (const auto& item : variables.items()) {
    interpreter.SetVariable(item.key(), Value::FromJson(item.value(), {}));
  }
  TaggedText text;
  const absl::Status status = interpreter.Run(&text);
  if (!status.ok()) return status;
  return text.text();
}

std::string ErrorOf(const std::string& source, const Limits& limits = {}) {
  const auto result = Render(source, Json::object(), "", limits);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << source;
  return std::string(result.status().message());
}

TEST(InterpreterTest, AgreesWithReference) {
  const Json golden =
      Json::parse(ReadText(TRAINERD_SOURCE_DIR + "/tests/golden/text/template_cases.json"));
  ASSERT_GT(golden["cases"].size(), 80u);
  for (const auto& c : golden["cases"]) {
    const auto source = c["template"].get<std::string>();
    const auto result = Render(source, golden["variables"], golden["now"]);
    if (c.contains("error")) {
      EXPECT_FALSE(result.ok()) << source << " gave " << *result;
    } else {
      ASSERT_TRUE(result.ok()) << source << ": " << result.status();
      EXPECT_EQ(*result, c["text"].get<std::string>()) << source;
    }
  }
}

TEST(InterpreterTest, ErrorsNameLineAndColumn) {
  EXPECT_THAT(ErrorOf("a\n  {{ x.y }}"), HasSubstr("template line 2, column 7: 'x' is undefined"));
  EXPECT_THAT(ErrorOf("{% if 1 %}\n\n{{ 'a' + 1 }}{% endif %}"),
              HasSubstr("template line 3, column 8: unsupported operand type(s) for +"));
  EXPECT_THAT(ErrorOf("\n{{ raise_exception('bad roles') }}"),
              HasSubstr("line 2, column 19: the template says: bad roles"));
  EXPECT_THAT(ErrorOf("x {% nosuch %}"), HasSubstr("line 1, column 6: tag 'nosuch'"));
  EXPECT_THAT(ErrorOf("{{ 1|nosuch }}"), HasSubstr("line 1, column 6: no filter named 'nosuch'"));
  EXPECT_THAT(ErrorOf("{% for x in [] %}"), HasSubstr("expected {% endfor %}"));
  EXPECT_THAT(ErrorOf("a\n{{ 'x"), HasSubstr("line 2, column 4: string without its end"));
}

TEST(InterpreterTest, TimeMustBeFrozen) {
  EXPECT_THAT(ErrorOf("{{ strftime_now('%Y') }}"), HasSubstr("current time"));
  EXPECT_EQ(*Render("{{ strftime_now('%A %-d %B %Y') }}", Json::object(), "2026-11-04 00:00:00"),
            "Wednesday 4 November 2026");
}

TEST(InterpreterTest, BoundsSteps) {
  Limits limits;
  limits.max_steps = 1000;
  EXPECT_THAT(
      ErrorOf("{% for i in range(99) %}{% for j in range(99) %}{{ j }}{% endfor %}{% endfor %}",
              limits),
      HasSubstr("more than 1000 steps"));
}

TEST(InterpreterTest, BoundsText) {
  Limits limits;
  limits.max_output_bytes = 5000;
  EXPECT_THAT(ErrorOf("{% for i in range(9999) %}{{ i }}{% endfor %}", limits),
              HasSubstr("text of more than 5000 bytes"));
  EXPECT_THAT(ErrorOf("{% set ns = namespace(x='ab') %}{% for i in range(64) %}"
                      "{% set ns.x = ns.x + ns.x %}{% endfor %}"),
              HasSubstr("text of more than"));
  EXPECT_THAT(ErrorOf("{{ 'x' * 9999999999 }}"), HasSubstr("text of more than"));
  EXPECT_THAT(ErrorOf("{{ 'x'.ljust(9999999999) }}"), HasSubstr("text of more than"));
}

TEST(InterpreterTest, BoundsLists) {
  EXPECT_THAT(ErrorOf("{% set ns = namespace(x=[1]) %}{% for i in range(64) %}"
                      "{% set ns.x = ns.x + ns.x %}{% endfor %}"),
              HasSubstr("list of more than"));
  // Each level doubles what printing writes.
  EXPECT_THAT(ErrorOf("{% set ns = namespace(x=[1]) %}{% for i in range(64) %}"
                      "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}"),
              HasSubstr("text of more than"));
}

TEST(InterpreterTest, BoundsDepth) {
  EXPECT_THAT(ErrorOf("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}"
                      "{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf("{{ 1" + std::string(5000, '+') + "1 }}"), HasSubstr("nested too deeply"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 2000; ++i) sum += " + 1";
  EXPECT_THAT(ErrorOf(sum + " }}"), HasSubstr("more than 500 parts"));
  std::string ifs;
  for (int i = 0; i < 2000; ++i) ifs += "{% if 1 %}";
  EXPECT_THAT(ErrorOf(ifs), HasSubstr("nested too deeply"));
}

// Neither the calls nor the expressions and blocks within one are many, but all of them are.
TEST(InterpreterTest, BoundsDepthOfCallsAndExpressionsTogether) {
  const auto Recursive = [](const std::string& open, const std::string& close) {
    return "{% macro f() %}" + open + "{{ f() }}" + close + "{% endmacro %}{{ f() }}";
  };
  std::string ifs, ends;
  for (int i = 0; i < 150; ++i) ifs += "{% if 1 %}", ends += "{% endif %}";
  EXPECT_THAT(ErrorOf(Recursive(ifs, ends)), HasSubstr("nested too deeply"));
  for (const std::string op : {"-", "not "}) {
    std::string prefix;
    for (int i = 0; i < 150; ++i) prefix += op;
    EXPECT_THAT(ErrorOf("{% macro f() %}{{ " + prefix + "f() }}{% endmacro %}{{ f() }}"),
                HasSubstr("nested too deeply"));
  }
}

TEST(InterpreterTest, BoundsEveryChain) {
  for (const std::string link : {" or 0", " and 1", " if 1", " + 0", " * 1", " ** 1"}) {
    const std::string first = link == " or 0" ? "0" : "1";
    const auto Chain = [&](int links) {
      std::string text = "{{ " + first;
      for (int i = 0; i < links; ++i) text += link;
      return text + " }}";
    };
    EXPECT_EQ(*Render(Chain(500)), first) << link;
    EXPECT_THAT(ErrorOf(Chain(501)), HasSubstr("more than 500 parts")) << link;
    EXPECT_THAT(ErrorOf(Chain(100'000)), HasSubstr("more than 500 parts")) << link;
  }
}

TEST(InterpreterTest, NamespaceMayHoldItself) {
  EXPECT_EQ(*Render("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me is defined }}"),
            "True");
}

}  // namespace
}  // namespace trainerd::engine::jinja
