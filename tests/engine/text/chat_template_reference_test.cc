// SPDX-License-Identifier: Apache-2.0
// Renders what tests/golden/text/reference_renders.py renders with transformers in the same run:
// every chat template of the installed trl (Qwen 2.5 and 3, Llama 3 to 3.2, Gemma, Phi, DeepSeek,
// GPT-OSS … and their training variants) and those of tests/golden/text/templates (in the manner of
// Mistral's and Llama's, with every construct that they use) over conversations with tools,
// reasoning, parts and forged markers; and each of them edited.
#include <sstream>

#include "engine/text/chat_template.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

TEST(ChatTemplateReferenceTest, AgreesOnEveryTemplate) {
  if (::trainerd::testing::ReferencePython().empty()) {
    GTEST_SKIP() << "no reference packages: run deploy/install_dependencies.sh for tests";
  }
  const auto tokenizer =
      Tokenizer::Load(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TempDir temp;
  std::vector<std::string> arguments = {temp.path() + "/cases"};
  const std::string qwen3 =
      ::trainerd::testing::SharedDir() + "/models/qwen3-tokenizer/chat_template.jinja";
  if (std::filesystem::exists(qwen3)) arguments.push_back(qwen3);
  ASSERT_TRUE(::trainerd::testing::RunReference("reference_renders.py", arguments));
  std::istringstream lines(ReadText(temp.path() + "/cases"));
  std::string line, source;
  std::unique_ptr<ChatTemplate> chat_template;
  int compared = 0, marked = 0, failures = 0;
  while (std::getline(lines, line) && failures < 10) {
    const Json c = Json::parse(line);
    if (chat_template == nullptr || source != c["template"]) {
      source = c["template"];
      auto parsed = ChatTemplate::FromSource(source, **tokenizer);
      ASSERT_TRUE(parsed.ok()) << c["name"] << ": " << parsed.status();
      chat_template = *std::move(parsed);
    }
    RenderOptions options;
    options.add_generation_prompt = c["add_generation_prompt"];
    options.tools = c["tools"];
    options.extra = c["extra"];
    options.now = c["now"];
    const auto rendered = chat_template->Render(c["messages"], options);
    const std::string what =
        c["name"].get<std::string>() + " " + c["messages"].dump() + " " + c["extra"].dump();
    ++compared;
    if (c.contains("error") == rendered.ok()) {
      ++failures;
      ADD_FAILURE() << what << ": " << (rendered.ok() ? "no error" : rendered.status().ToString());
      continue;
    }
    if (!rendered.ok()) continue;
    if (rendered->text != c["text"]) {
      ++failures;
      ADD_FAILURE() << what << "\nours: " << rendered->text << "\ntheirs: " << c["text"];
    }
    if (!c.contains("generation")) continue;
    ++marked;
    std::string generation;
    for (const TextSpan& s : rendered->generation_spans) {
      generation += rendered->text.substr(s.begin, s.end - s.begin);
    }
    EXPECT_EQ(generation, c["generation"].get<std::string>()) << what;
  }
  EXPECT_GT(compared, 5000);
  EXPECT_GT(marked, 500);
}

}  // namespace
}  // namespace trainerd::engine
