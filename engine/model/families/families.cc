// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/families.h"

#include "absl/strings/str_join.h"
#include "absl/types/span.h"

// One line per family, sorted: the function of families/NAME.cc that returns it.
#define TRAINERD_FAMILIES(FAMILY) \
  FAMILY(Gemma1)                  \
  FAMILY(Gemma2)                  \
  FAMILY(Gemma3)                  \
  FAMILY(Granite)                 \
  FAMILY(Llama)                   \
  FAMILY(Mistral)                 \
  FAMILY(Olmo2)                   \
  FAMILY(Phi3)                    \
  FAMILY(Qwen2)                   \
  FAMILY(Qwen25Vl)                \
  FAMILY(Qwen3)                   \
  FAMILY(Qwen3Moe)                \
  FAMILY(Qwen3Vl)                 \
  FAMILY(SmolLm3)

namespace trainerd::engine {

namespace families {
#define TRAINERD_DECLARE(name) Family name();
TRAINERD_FAMILIES(TRAINERD_DECLARE)
#undef TRAINERD_DECLARE
}  // namespace families

namespace {

absl::Span<const Family> Families() {
#define TRAINERD_ENTRY(name) families::name(),
  static const Family families[] = {TRAINERD_FAMILIES(TRAINERD_ENTRY)};
#undef TRAINERD_ENTRY
  return families;
}

}  // namespace

const Family* FindFamily(std::string_view model_type) {
  for (const Family& family : Families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string SupportedFamilies() {
  return absl::StrJoin(Families(), ", ", [](std::string* out, const Family& family) {
    out->append(family.model_type);
  });
}

}  // namespace trainerd::engine
