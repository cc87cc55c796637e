// SPDX-License-Identifier: Apache-2.0
// Renders what tests/golden/text/reference_renders.py renders with transformers in the same run:
// every chat template of the installed trl (Qwen 2.5 and 3, Llama 3 to 3.2, Gemma, Phi, DeepSeek,
// GPT-OSS … and their training variants) and those of tests/golden/text/templates (in the manner of
// Mistral's and Llama's, with every construct that they use) over conversations with tools,
// reasoning, parts and forged markers, and over 70 conversations in the forms plain, null, list,
// tool and developer; and each template edited. Where this code is meant to differ, kIntended says
// why.
#include <map>
#include <set>
#include <sstream>

#include "engine/text/chat_template.h"
#include "engine/text/role_traits.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

// Where the user's words vanish or become Python source in transformers, and not here.
// tests/golden/text/intended_differences.json lists the templates of each.
const std::map<std::string, std::string> kReasons = {
    {"joins_list",
     "the template takes text alone: transformers drops a list, prints it as Python source, or "
     "fails; here the texts of its parts are joined"},
    {"wraps_text",
     "the template loops over parts alone: transformers drops text; here it is a list of one part"},
    {"developer_is_system",
     "the template prints system messages at the beginning, but transformers drops a developer "
     "message there, or fails; here it is a system message"},
};

struct Case {
  std::string name;  // of the template
  const ChatTemplate* chat_template;
  Json json;
};

RenderOptions OptionsOf(const Case& c) {
  RenderOptions options;
  options.add_generation_prompt = c.json["add_generation_prompt"];
  options.tools = c.json["tools"];
  options.extra = c.json["extra"];
  options.now = c.json["now"];
  return options;
}

// The reasons that apply to a case: they are properties of the template's roles, which the probes
// find, and of the conversation.
std::set<std::string> ReasonsOf(const Case& c) {
  std::set<std::string> reasons;
  for (const Json& message : c.json["messages"]) {
    const RoleTraits& traits = c.chat_template->TraitsOf(message["role"], OptionsOf(c));
    const auto content = message.find("content");
    if (content != message.end() && content->is_array() && !traits.keeps_list()) {
      reasons.insert("joins_list");
    }
    if (content != message.end() && content->is_string() && traits.wraps_text()) {
      reasons.insert("wraps_text");
    }
    if (!traits.rendered_as.empty()) reasons.insert("developer_is_system");
  }
  return reasons;
}

// The conversation that transformers renders as "meant" differs from the given one in this.
std::string ReasonOfForm(const std::string& form) {
  if (form == "list") return "joins_list";
  return form == "developer" ? "developer_is_system" : "wraps_text";
}

// Some messages take the form that transformers renders as "meant", others do not.
bool IsMixed(const Case& c) {
  for (const Json& message : c.json["messages"]) {
    const RoleTraits& traits = c.chat_template->TraitsOf(message["role"], OptionsOf(c));
    const Json content = message.value("content", Json());
    if (c.json["form"] == "list" ? traits.keeps_list()
                                 : c.json["form"] != "developer" && content.is_string() &&
                                       !content.empty() && !traits.wraps_text()) {
      return true;
    }
  }
  return false;
}

struct Differences {
  std::map<std::string, std::set<std::string>> templates;  // by reason
  int compared = 0, marked = 0, meant = 0, failures = 0;
};

void Compare(const Case& c, Differences* found) {
  const auto rendered = c.chat_template->Render(c.json["messages"], OptionsOf(c));
  ++found->compared;
  // Whether the rendered text is that of a key. std::string == json is ambiguous for GCC 13.
  const auto is = [&](const char* key) {
    return rendered.ok() && rendered->text == c.json[key].get<std::string>();
  };
  const bool equal = c.json.contains("error") ? !rendered.ok() : is("text");
  if (!equal) {
    const std::set<std::string> reasons = ReasonsOf(c);
    for (const std::string& reason : reasons) found->templates[reason].insert(c.name);
    const bool same_reason = reasons == std::set<std::string>{ReasonOfForm(c.json["form"])};
    const bool checks = same_reason && !IsMixed(c) && c.json.contains("meant");
    found->meant += checks;
    if (checks ? is("meant") : !reasons.empty()) return;
    ++found->failures;
    ADD_FAILURE() << c.name << " " << c.json["form"] << " " << c.json["messages"].dump() << " "
                  << c.json["extra"].dump()
                  << "\nours: " << (rendered.ok() ? rendered->text : rendered.status().ToString())
                  << "\ntheirs: " << c.json.value("text", Json("an error"));
    return;
  }
  if (!rendered.ok() || !c.json.contains("generation")) return;
  ++found->marked;
  std::string generation;
  for (const TextSpan& s : rendered->generation_spans) {
    generation += rendered->text.substr(s.begin, s.end - s.begin);
  }
  EXPECT_EQ(generation, c.json["generation"].get<std::string>())
      << c.name << " " << c.json["messages"].dump();
}

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
  std::string line, name;
  std::unique_ptr<ChatTemplate> chat_template;
  Differences found;
  while (std::getline(lines, line) && found.failures < 10) {
    Json json = Json::parse(line);
    if (json.contains("template")) {
      name = json["name"];
      auto parsed = ChatTemplate::FromSource(json["template"], **tokenizer);
      ASSERT_TRUE(parsed.ok()) << name << ": " << parsed.status();
      chat_template = *std::move(parsed);
      continue;
    }
    Compare({name, chat_template.get(), std::move(json)}, &found);
  }
  const Json listed =
      Json::parse(ReadText(TRAINERD_SOURCE_DIR + "/tests/golden/text/intended_differences.json"));
  for (const auto& [reason, why] : kReasons) {
    // The Qwen3 template of a model folder is not everywhere.
    found.templates[reason].erase("chat_template.jinja");
    EXPECT_EQ(Json(found.templates[reason]), listed[reason]) << why;
  }
  EXPECT_GT(found.compared, 20000);
  EXPECT_GT(found.marked, 2000);
  EXPECT_GT(found.meant, 1000);
}

}  // namespace
}  // namespace trainerd::engine
