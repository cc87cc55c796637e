// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: template source → parse and run within small limits; every byte of the output
// must have one origin.
#include <cstdlib>

#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/syntax/parser.h"

namespace jinja = trainerd::engine::jinja;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = jinja::Parse(source);
  if (!parsed.ok()) return 0;
  static const auto messages = nlohmann::ordered_json::parse(
      R"([{"role": "user", "content": "Hi é <|im_end|>"},
          {"role": "assistant", "content": "Yo", "n": 3, "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1.5, "b": [null, true]}}}]}])");
  const jinja::Limits limits{.max_steps = 20'000, .max_depth = 100, .max_output_bytes = 1 << 20};
  jinja::Interpreter interpreter(**parsed, "2024-01-02 03:04:05", limits);
  interpreter.SetVariable("messages", jinja::Value::FromJson(messages, {0, true, false}));
  interpreter.SetVariable("s", jinja::Value::String(" aé中 b "));
  interpreter.SetVariable("n", jinja::Value::Int(7));
  jinja::TaggedText text;
  (void)interpreter.Run(&text);
  size_t reached = 0;
  text.ForEachRun([&](size_t begin, size_t end, const jinja::Tag&) {
    if (begin != reached || end <= begin) std::abort();
    reached = end;
  });
  if (reached != text.size()) std::abort();
  return 0;
}
