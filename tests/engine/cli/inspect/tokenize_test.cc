// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/cli/inspect/inspect_fixture.h"

namespace trainerd::engine {
namespace {

using nlohmann::json;

TEST_F(InspectTest, TokenizesAndDecodes) {
  const std::string input = folder_.Write("in.jsonl",
                                          "{\"id\":7,\"text\":\"A<|im_end|>\"}\n{\"id\":{\"k\":"
                                          "\"\\u00e9\"},\"text\":\"é\",\"more\":1}\n");
  Result result = Output([&](std::FILE* out) {
    return RunTokenize({.tokenizer_folder = folder_.path() + "/model", .input_file = input}, out);
  });
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.lines(), (std::vector<json>{{{"id", 7}, {"ids", {65, 258}}},
                                               {{"id", {{"k", "é"}}}, {"ids", {0xc3, 0xa9}}}}));
  const std::string ids = folder_.Write("ids.jsonl", result.text);
  result = Output([&](std::FILE* out) {
    return RunTokenize(
        {.tokenizer_folder = folder_.path() + "/model", .input_file = ids, .decode = true}, out);
  });
  EXPECT_EQ(result.lines(),
            (std::vector<json>{{{"id", 7}, {"text", "A<|im_end|>"}, {"special", {1}}},
                               {{"id", {{"k", "é"}}}, {"text", "é"}}}));
}

TEST_F(InspectTest, TokenizeNamesTheLineOfAFault) {
  const auto message = [&](const std::string& contents, bool decode) {
    const std::string input = folder_.Write("in.jsonl", contents);
    return std::string(Output([&](std::FILE* out) {
                         return RunTokenize({.tokenizer_folder = folder_.path() + "/model",
                                             .input_file = input,
                                             .decode = decode},
                                            out);
                       }).status.message());
  };
  EXPECT_NE(
      message("{\"text\":\"a\"}\nnope\n", false).find("in.jsonl:2: column 2: the line is not JSON"),
      std::string::npos);
  EXPECT_NE(message("{\"text\":3}\n", false).find("in.jsonl:1: the record has no \"text\""),
            std::string::npos);
  EXPECT_NE(message("{\"ids\":[1,-1]}\n", true).find("not a token id"), std::string::npos);
}

}  // namespace
}  // namespace trainerd::engine
