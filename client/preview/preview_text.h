// SPDX-License-Identifier: Apache-2.0
// Conversations for a terminal or a pipe: text in which the trained part is marked.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/preview/preview_items.h"
#include "client/preview/token_texts.h"

namespace trainerd::client {

// For each item a title line with its counts and the text; the trained part is green with `color`,
// in [[ ]] without.
absl::StatusOr<std::string> RenderPreview(const std::vector<PreviewItem>& items,
                                          const DecodeTokens& decode, bool color);

}  // namespace trainerd::client
