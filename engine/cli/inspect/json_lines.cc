// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/inspect/json_lines.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/format.h"

namespace trainerd::engine {

void AppendJsonString(std::string_view text, std::string* out) {
  out->append(nlohmann::json(std::string(text))
                  .dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace));
}

void AppendJsonFloats(const std::vector<float>& values, std::string* out) {
  out->push_back('[');
  for (size_t i = 0; i < values.size(); ++i)
    absl::StrAppend(out, i > 0 ? "," : "", FormatShortest(values[i]));
  out->push_back(']');
}

}  // namespace trainerd::engine
