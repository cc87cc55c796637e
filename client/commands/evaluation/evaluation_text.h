// SPDX-License-Identifier: Apache-2.0
// Evaluations as the commands print them.
#pragma once

#include <string>

#include "client/commands/common/context.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::client {

// "acc 0.61 ± 0.01, f1 0.4"; the error of a failed one; "-" without either.
std::string ResultText(const v1::Evaluation& evaluation);

// A document, or "jobs/ID/evaluations/X STATE".
void PrintEvaluation(const v1::Evaluation& evaluation, const Context& context);

}  // namespace trainerd::client
