// SPDX-License-Identifier: Apache-2.0
// Every filter, test, method, function and loop attribute of the template language, one test per
// name. Expected texts: tests/golden/text/make_jinja_goldens.py, transformers 5.23.0 with
// jinja2 3.1.6.
#include <algorithm>
#include <cctype>
#include <ostream>
#include <string>
#include <vector>

#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/syntax/parser.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine::jinja {
namespace {

using Json = nlohmann::ordered_json;

const Json& Golden() {
  static const Json golden = Json::parse(
      ::trainerd::testing::ReadText(TRAINERD_SOURCE_DIR + "/tests/golden/text/jinja_names.json"));
  return golden;
}

absl::StatusOr<std::string> Render(const std::string& source) {
  auto parsed = Parse(source);
  if (!parsed.ok()) return parsed.status();
  Interpreter interpreter(**parsed, Golden()["now"].get<std::string>());
  for (const auto& item : Golden()["variables"].items()) {
    interpreter.SetVariable(item.key(), Value::FromJson(item.value(), {}));
  }
  TaggedText text;
  const absl::Status status = interpreter.Run(&text);
  if (!status.ok()) return status;
  return text.text();
}

struct Name {
  std::string kind;
  std::string name;
};

void PrintTo(const Name& name, std::ostream* out) { *out << name.kind << " " << name.name; }

std::vector<Name> AllNames() {
  std::vector<Name> names;
  for (const auto& kind : Golden()["kinds"].items()) {
    for (const auto& name : kind.value().items()) names.push_back({kind.key(), name.key()});
  }
  return names;
}

std::string TestName(const ::testing::TestParamInfo<Name>& info) {
  std::string name = info.param.kind + "_" + info.param.name;
  // An operator, for example the test "<=".
  if (!std::isalpha(static_cast<unsigned char>(info.param.name[0]))) {
    name = info.param.kind + "_operator" + std::to_string(info.index);
  }
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

class JinjaNameTest : public ::testing::TestWithParam<Name> {};

TEST_P(JinjaNameTest, AgreesWithReference) {
  const Json& cases = Golden()["kinds"][GetParam().kind][GetParam().name];
  ASSERT_FALSE(cases.empty());
  for (const Json& pair : cases) {
    const auto source = pair[0].get<std::string>();
    const absl::StatusOr<std::string> result = Render(source);
    if (pair[1].is_null()) {
      EXPECT_FALSE(result.ok()) << source << " gave " << *result;
    } else {
      ASSERT_TRUE(result.ok()) << source << ": " << result.status();
      EXPECT_EQ(*result, pair[1].get<std::string>()) << source;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Names, JinjaNameTest, ::testing::ValuesIn(AllNames()), TestName);

}  // namespace
}  // namespace trainerd::engine::jinja
