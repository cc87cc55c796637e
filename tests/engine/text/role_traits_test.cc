// SPDX-License-Identifier: Apache-2.0
// Expectations are written by hand from what the templates say.
#include "engine/text/role_traits.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsSupersetOf;

class Roles {
 public:
  explicit Roles(const std::string& source)
      : tokenizer_(*Tokenizer::Load(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3")),
        template_(*ChatTemplate::FromSource(source, *tokenizer_)) {}
  const RoleTraits& operator[](const std::string& role) const {
    return template_->TraitsOf(role, {});
  }
  std::vector<std::string> Printed() const { return template_->PrintedRoles({}); }

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatTemplate> template_;
};

// Branches for four roles and no other. "critic" is printed only behind an answer, "tool" only
// behind a call, and a "system" message only at the beginning.
constexpr char kBranches[] =
    "{% for m in messages %}{% if m.role == 'user' or m.role == 'assistant' %}{{ m.content }}"
    "{% elif m.role == 'system' and loop.first %}{{ m.content }}"
    "{% elif m.role == 'critic' and not loop.first and loop.previtem.role == 'assistant' %}"
    "{{ m.content }}{% elif m.role == 'tool' and loop.previtem.tool_calls %}{{ m.content }}"
    "{% endif %}{% endfor %}";

TEST(RoleTraitsTest, FindsRolesThatSomeBranchPrints) {
  const Roles roles(kBranches);
  for (const char* role : {"system", "user", "assistant", "tool", "critic"}) {
    EXPECT_TRUE(roles[role].printed) << role;
    EXPECT_TRUE(roles[role].takes_text) << role;
    EXPECT_FALSE(roles[role].takes_list) << role;
  }
  for (const char* role : {"observer", "function", ""}) EXPECT_FALSE(roles[role].printed) << role;
  EXPECT_THAT(roles.Printed(),
              ElementsAre("system", "user", "assistant", "tool", "developer", "critic"));
}

TEST(RoleTraitsTest, FindsThatEveryRoleIsPrinted) {
  const Roles roles(ChatTemplate::ChatMlSource());
  for (const char* role : {"developer", "function", "ipython", "anything"}) {
    EXPECT_TRUE(roles[role].printed) << role;
    EXPECT_FALSE(roles[role].answers) << role;
    EXPECT_EQ(roles[role].rendered_as, "") << role;
  }
  EXPECT_THAT(roles.Printed(), IsSupersetOf({"system", "user", "assistant", "tool"}));
}

// As Gemma's templates do: roles alternate, and answers are written by "model".
TEST(RoleTraitsTest, FindsAnotherNameOfTheAssistant) {
  const Roles roles(
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('roles must alternate') }}{% endif %}"
      "<{{ 'model' if m.role == 'assistant' else m.role }}>{{ m.content }}{% endfor %}");
  EXPECT_TRUE(roles["model"].answers);
  EXPECT_TRUE(roles["assistant"].answers);
  EXPECT_FALSE(roles["user"].answers);
  EXPECT_FALSE(roles["bot"].answers);
}

TEST(RoleTraitsTest, TellsRefusedRolesFromUnprintedOnes) {
  const Roles roles(
      "{% for m in messages %}{% if m.role not in ['user', 'assistant', 'note'] %}"
      "{{ raise_exception('unknown role ' ~ m.role) }}{% elif m.role != 'note' %}"
      "{{ m.content }}{% endif %}{% endfor %}");
  EXPECT_TRUE(roles["critic"].refused);
  EXPECT_FALSE(roles["note"].refused);
  EXPECT_FALSE(roles["note"].printed);
  EXPECT_EQ(roles["developer"].rendered_as, "") << "system is refused as well";
}

TEST(RoleTraitsTest, RendersDeveloperAsSystemWhereATemplateRefusesIt) {
  const Roles roles(
      "{% for m in messages %}{% if m.role == 'developer' %}{{ raise_exception('no') }}{% endif %}"
      "{{ m.content }}{% endfor %}");
  EXPECT_EQ(roles["developer"].rendered_as, "system");
  EXPECT_TRUE(roles["developer"].printed);
  EXPECT_FALSE(roles["developer"].refused);
}

}  // namespace
}  // namespace trainerd::engine
