// SPDX-License-Identifier: Apache-2.0
// Model folders whose tokenizer files disagree, add tokens or name templates in every way
// (tests/golden/text/reference_folders.py), compared with what transformers makes of the same files
// in the same run.
#include <algorithm>

#include "engine/text/chat_template.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

// The text of one conversation; null = an error.
Json Rendered(const std::string& folder, const Json& tools) {
  const auto tokenizer = Tokenizer::Load(folder);
  if (!tokenizer.ok() || (*tokenizer)->chat_templates().empty()) return nullptr;
  const auto chat_template =
      ChatTemplate::FromTemplates((*tokenizer)->chat_templates(), **tokenizer);
  if (!chat_template.ok()) return nullptr;
  const Json messages = Json::parse(R"([{"role": "user", "content": "Hi"}])");
  const auto rendered = (*chat_template)->Render(messages, {.tools = tools});
  return rendered.ok() ? Json(rendered->text) : nullptr;
}

void Compare(const std::string& folder) {
  SCOPED_TRACE(folder.substr(folder.rfind('/') + 1));
  const Json expected = Json::parse(ReadText(folder + "/expected.json"));
  const auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  Json named = Json::object();
  for (const auto& [name, spelling] : (*tokenizer)->named_tokens()) named[name] = spelling;
  // The order of two dicts is no difference.
  EXPECT_EQ(nlohmann::json(named), nlohmann::json(expected["named"]));
  EXPECT_EQ((*tokenizer)->vocab_size(), expected["size"].get<int64_t>());
  std::vector<int32_t> special;
  for (const AddedToken& token : (*tokenizer)->added_tokens()) {
    if (token.special) special.push_back(token.id);
  }
  std::sort(special.begin(), special.end());
  EXPECT_EQ(Json(special), expected["special"]);
  for (const Json& text : expected["texts"]) {
    Encoding encoding;
    ASSERT_TRUE((*tokenizer)->Encode(text[0].get<std::string>(), &encoding).ok());
    EXPECT_EQ(Json(encoding.ids), text[1]) << text[0];
  }
  const Json tools = Json::parse(
      R"([null, [], [{"type": "function", "function": {"name": "f", "parameters": {}}}]])");
  for (size_t i = 0; i < tools.size(); ++i) {
    EXPECT_EQ(Rendered(folder, tools[i]), expected["renders"][i]) << "tools: " << tools[i];
  }
}

TEST(FolderReferenceTest, ReadsFilesWithThePrecedenceOfTransformers) {
  if (::trainerd::testing::ReferencePython().empty()) {
    GTEST_SKIP() << "no reference packages: run deploy/install_dependencies.sh for tests";
  }
  TempDir temp;
  const std::string output = temp.path() + "/folders";
  ASSERT_TRUE(::trainerd::testing::RunReference("reference_folders.py", {output}));
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(output)) {
    Compare(entry.path().string());
    ++compared;
  }
  EXPECT_GE(compared, 30);
}

}  // namespace
}  // namespace trainerd::engine
