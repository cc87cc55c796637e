// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config/rope_parameters.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

// Old files have "type", and Phi-3 had other names.
std::string TypeOf(ConfigReader& rope) {
  const std::string type = rope.Text("rope_type", rope.Text("type", "default"));
  return type == "su" ? "longrope" : type;
}

int64_t OriginalPositions(ConfigReader& rope, const RopeDefaults& defaults) {
  const int64_t beside = defaults.original_max_position_embeddings;
  return rope.PositiveInt("original_max_position_embeddings",
                          beside > 0 ? beside : defaults.max_position_embeddings);
}

Llama3RopeScaling ReadLlama3(ConfigReader& rope) {
  Llama3RopeScaling scaling;
  scaling.factor = rope.PositiveNumber("factor");
  scaling.low_freq_factor = rope.PositiveNumber("low_freq_factor");
  scaling.high_freq_factor = rope.PositiveNumber("high_freq_factor");
  scaling.original_max_position_embeddings = rope.PositiveInt("original_max_position_embeddings");
  if (scaling.high_freq_factor <= scaling.low_freq_factor)
    rope.Invalid("high_freq_factor", "must be above low_freq_factor");
  return scaling;
}

void ReadLongRope(ConfigReader& rope, const RopeDefaults& defaults, RopeSpec& spec) {
  spec.divisors = rope.NumberList("short_factor", 1);
  spec.long_divisors = rope.NumberList("long_factor", 1);
  spec.original_positions = OriginalPositions(rope, defaults);
  const auto original = static_cast<double>(spec.original_positions);
  const double stretch = rope.PositiveNumber(
      "factor", static_cast<double>(defaults.max_position_embeddings) / original);
  spec.magnitude = rope.PositiveNumber(
      "attention_factor",
      stretch > 1.0 ? std::sqrt(1.0 + std::log(stretch) / std::log(original)) : 1.0);
}

}  // namespace

RopeSpec ReadRopeParameters(ConfigReader& rope, const RopeDefaults& defaults) {
  RopeSpec spec;
  spec.theta = rope.PositiveNumber("rope_theta", defaults.theta);
  const std::string type = TypeOf(rope);
  if (type == "linear") {
    spec.factor = rope.PositiveNumber("factor");
  } else if (type == "llama3") {
    spec.llama3 = ReadLlama3(rope);
  } else if (type == "longrope") {
    ReadLongRope(rope, defaults, spec);
  } else if (type != "default" && !(type == "mrope" && defaults.is_multimodal)) {
    rope.Unsupported(
        absl::StrCat("RoPE scaling \"", type,
                     "\" is not supported; supported: default, linear, llama3, longrope"));
  }
  if (defaults.is_multimodal && rope.Has("mrope_section"))
    spec.sections = rope.IntList("mrope_section", 1);
  return spec;
}

}  // namespace trainerd::engine
