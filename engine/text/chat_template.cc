// SPDX-License-Identifier: Apache-2.0
#include "engine/text/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/role_traits.h"
#include "engine/text/template_variant.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

const std::string* Named(const std::vector<NamedTemplate>& templates, std::string_view name) {
  for (const NamedTemplate& entry : templates) {
    if (entry.name == name) return &entry.source;
  }
  return nullptr;
}

absl::Status NoDefault(const std::vector<NamedTemplate>& templates) {
  std::string names;
  for (const NamedTemplate& entry : templates) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", entry.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the model has the chat templates ", names,
                   ", but none named default; set data.chat_template to a .jinja file"));
}

absl::StatusOr<std::unique_ptr<TemplateVariant>> CreateNamed(const std::string& name,
                                                             const std::string* source,
                                                             const Tokenizer& tokenizer) {
  if (source == nullptr) return nullptr;
  auto variant = TemplateVariant::Create(*source, tokenizer);
  if (!variant.ok()) return Annotate(variant.status(), "template ", name);
  return variant;
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<TemplateVariant> plain,
                           std::unique_ptr<TemplateVariant> tool_use)
    : default_(std::move(plain)), tool_use_(std::move(tool_use)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromSource(std::string source,
                                                                       const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(std::unique_ptr<TemplateVariant> variant,
                   TemplateVariant::Create(std::move(source), tokenizer));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(variant), nullptr));
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromTemplates(
    const std::vector<NamedTemplate>& templates, const Tokenizer& tokenizer) {
  const std::string* plain = Named(templates, "default");
  const std::string* tool_use = Named(templates, "tool_use");
  if (plain == nullptr && tool_use == nullptr) return NoDefault(templates);
  ASSIGN_OR_RETURN(auto default_variant, CreateNamed("default", plain, tokenizer));
  ASSIGN_OR_RETURN(auto tool_variant, CreateNamed("tool_use", tool_use, tokenizer));
  return std::unique_ptr<ChatTemplate>(
      new ChatTemplate(std::move(default_variant), std::move(tool_variant)));
}

std::string ChatTemplate::ChatMlSource() {
  return "{%- for message in messages %}"
         "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
         "{%- endfor %}"
         "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
}

const TemplateVariant& ChatTemplate::ChosenBy(const RenderOptions& options) const {
  const bool with_tools = !options.tools.is_null();
  return tool_use_ != nullptr && (with_tools || default_ == nullptr) ? *tool_use_ : *default_;
}

absl::StatusOr<RenderedConversation> ChatTemplate::Render(const Json& messages,
                                                          const RenderOptions& options) const {
  if (default_ == nullptr && options.tools.is_null()) {
    return absl::InvalidArgumentError(
        "the model's only chat template is tool_use, and the conversation has no tools; give it "
        "\"tools\", or set data.chat_template to a .jinja file");
  }
  return ChosenBy(options).Render(messages, options);
}

const RoleTraits& ChatTemplate::TraitsOf(const std::string& role,
                                         const RenderOptions& options) const {
  return ChosenBy(options).TraitsOf(role);
}

std::vector<std::string> ChatTemplate::PrintedRoles(const RenderOptions& options) const {
  return ChosenBy(options).PrintedRoles();
}

ContentForm ChatTemplate::content_form() const {
  return TraitsOf("user", {}).keeps_list() ? ContentForm::kList : ContentForm::kJoinedText;
}

bool ChatTemplate::has_generation_marks(const RenderOptions& options) const {
  return ChosenBy(options).has_generation_marks();
}

bool ChatTemplate::ReadsVariable(std::string_view name) const {
  return (default_ != nullptr && default_->ReadsVariable(name)) ||
         (tool_use_ != nullptr && tool_use_->ReadsVariable(name));
}

const std::string& ChatTemplate::source(const RenderOptions& options) const {
  return ChosenBy(options).source();
}

std::string ChatTemplate::fingerprint() const {
  Xxh3Stream hash;
  for (const TemplateVariant* variant : {default_.get(), tool_use_.get()}) {
    if (variant != nullptr) hash.Update(variant->source().data(), variant->source().size());
    hash.Update("", 1);  // a NUL: where a source ends
  }
  return ToHex(hash.Digest());
}

}  // namespace trainerd::engine
