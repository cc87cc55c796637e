// SPDX-License-Identifier: Apache-2.0
// Expectations: each key of both configuration files is in the printed reference with its comment,
// and has one.
#include "proto/contract/job_file/config_reference.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/proto/contract/config/knob_fields.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {
namespace {

TEST(ConfigReferenceTest, EveryFieldHasACommentAndStandsInIt) {
  const std::string reference = ConfigReference();
  // Without line breaks, so that wrapped comments are found.
  const std::string flat = absl::StrReplaceAll(reference, {{"\n    ", " "}});
  for (const auto* descriptor : {v1::JobConfig::descriptor(), v1::ServerConfig::descriptor()}) {
    for (const testing::KnobField& knob : testing::AllKnobFields(*descriptor)) {
      const std::string comment = CommentOf(*knob.field);
      ASSERT_FALSE(comment.empty()) << knob.path << " needs a comment in its .proto file";
      const std::string path = absl::StrReplaceAll(knob.path, {{"[0]", "[N]"}});
      EXPECT_TRUE(absl::StrContains(reference, absl::StrCat("\n", path, ": "))) << path;
      EXPECT_TRUE(absl::StrContains(flat, comment)) << path << ": " << comment;
    }
  }
}

TEST(ConfigReferenceTest, EverySectionIsExplained) {
  const auto* job = v1::JobConfig::descriptor();
  for (int i = 0; i < job->field_count(); ++i) {
    const auto& field = *job->field(i);
    if (field.is_map() || IsScalarField(field)) continue;
    EXPECT_FALSE(CommentOf(*field.message_type()).empty())
        << std::string(field.message_type()->name());
  }
}

TEST(ConfigReferenceTest, SaysKindRangeUnitAndDefault) {
  const std::string reference = ConfigReference();
  for (const char* line : {
           "\ndata.max_length: whole number, 8 to 1048576 tokens, default 2048\n",
           "\noptimizer.betas: list of numbers, 0 to below 1, default [0.9, 0.999], only with "
           "type: adamw or type: adamw_8bit\n",
           "\noptimizer.momentum: number, 0 to below 1, default 0 (with type: muon 0.95), only "
           "with "
           "type: sgd or type: muon\n",
           "\noptimizer.nesterov: true or false, default false (with type: muon true), only with "
           "type: sgd or type: muon\n",
           "\noptimizer.adamw: group of keys, only with type: muon\n",
           "\nmodel.path: path, required\n",
           "\ndata.chat_template: model | chatml | …, default model\n",
           "\ndata.packing: none | bfd | bfd_split, default bfd\n",
           "\ncheckpoint.keep_last: whole number, 1 to 100000 checkpoints, default 3, live\n",
           "\nlabels: labels {key: text}, live\n",
           "\nnot_before: time, live\n",
           "\ninit_from: group of keys, absent unless given\n",
           "\ndata.system_prompt: text, default \"\"\n",
           "\nmax_watchers: whole number, at least 1 streams, default 2000\n",
       }) {
    EXPECT_TRUE(absl::StrContains(reference, line)) << line;
  }
}

TEST(ConfigReferenceTest, LinesFitATerminal) {
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(ConfigReference(), '\n'))) {
    if (absl::StartsWith(line, "    ")) {
      EXPECT_LE(line.size(), 100u) << line;
    }
  }
}

}  // namespace
}  // namespace trainerd
