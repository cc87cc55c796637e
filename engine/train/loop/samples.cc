// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/samples.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status EmitSamples(AttemptContext& context) {
  for (size_t i = 0; i < context.prompts.size(); ++i) {
    RETURN_IF_ERROR(CheckStopRequested(context.control));
    const SamplePrompt& prompt = context.prompts[i];
    absl::StatusOr<std::vector<int32_t>> ids =
        context.sample_generator->ConversationIds(prompt.messages);
    if (!ids.ok())
      return Annotate(ids.status(), context.config.samples().prompts(), ": prompt ", i + 1);
    ASSIGN_OR_RETURN(
        std::string answer,
        context.sample_generator->Answer(
            *context.decoder, *ids,
            {.max_tokens = context.config.samples().max_tokens(),
             .cancelled = [&context] { return context.control.stop_mode() != StopMode::kNone; }}));
    v1::Event event;
    v1::SampleText& sample = *event.mutable_sample();
    sample.set_step(context.state.step);
    sample.set_prompt(prompt.question);
    sample.set_expected(prompt.expected);
    sample.set_output(std::move(answer));
    sample.set_index(static_cast<int32_t>(i));
    context.events.Emit(std::move(event));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
