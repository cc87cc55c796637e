// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/inspect/json_lines.h"

#include "nlohmann/json.hpp"

namespace trainerd::engine {

void AppendJsonString(std::string_view text, std::string* out) {
  out->append(nlohmann::json(std::string(text))
                  .dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace));
}

}  // namespace trainerd::engine
