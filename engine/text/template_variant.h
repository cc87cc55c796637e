// SPDX-License-Identifier: Apache-2.0
// One parsed template of a ChatTemplate, with what probing it has shown about the roles.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/text/chat_template.h"
#include "engine/text/jinja/syntax/ast.h"
#include "engine/text/jinja/value/value.h"
#include "engine/text/role_traits.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

// Thread-safety: const methods may be called from many threads at once.
class TemplateVariant {
 public:
  // Errors: InvalidArgument with template line and column.
  static absl::StatusOr<std::unique_ptr<TemplateVariant>> Create(std::string source,
                                                                 const Tokenizer& tokenizer);

  // See ChatTemplate.
  absl::StatusOr<RenderedConversation> Render(const nlohmann::ordered_json& messages,
                                              const RenderOptions& options) const;
  // Probed when the role is first met. The reference stays valid.
  const RoleTraits& TraitsOf(const std::string& role) const;
  // The roles that are printed, of the usual ones and of the words in the template's source.
  std::vector<std::string> PrintedRoles() const;

  bool ReadsVariable(std::string_view name) const;
  bool has_generation_marks() const { return parsed_->has_generation; }
  const std::string& source() const { return source_; }

 private:
  TemplateVariant(std::string source, std::unique_ptr<jinja::Template> parsed)
      : source_(std::move(source)), parsed_(std::move(parsed)) {}
  // `adapts`: content and roles take the form that RoleTraits names.
  absl::StatusOr<RenderedConversation> RenderAs(const nlohmann::ordered_json& messages,
                                                const RenderOptions& options, bool adapts) const;
  RoleTraits Probe(const std::string& role) const;

  // Constant after Create.
  const std::string source_;
  const std::unique_ptr<jinja::Template> parsed_;
  std::vector<std::pair<std::string, jinja::Value>> special_tokens_;
  // The roles of nearly all messages: found without a lock.
  std::vector<std::pair<std::string, RoleTraits>> usual_roles_;

  mutable absl::Mutex mutex_;
  mutable absl::flat_hash_map<std::string, std::unique_ptr<const RoleTraits>> other_roles_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::engine
