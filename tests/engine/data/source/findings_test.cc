// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/findings.h"

#include "absl/strings/ascii.h"
#include "gtest/gtest.h"
#include "proto/contract/config/field_text.h"

namespace trainerd::engine {
namespace {

v1::DataConfig Data() {
  v1::DataConfig data;
  data.add_train()->set_path("f");
  data.set_validation("v");
  return data;
}

TEST(FindingsTest, CountsByKindAndKeepsTheFirstPlaces) {
  Findings findings(Data());
  for (int line = 1; line <= 25; ++line) {
    findings.Add("TOO_LONG", false, {.file = 0, .line = line}, "line " + std::to_string(line));
  }
  findings.Add("BAD_JSON", true, {.file = 1, .line = 9, .column = 3}, "bad");
  EXPECT_EQ(findings.Count("TOO_LONG"), 25);
  EXPECT_EQ(findings.Count("NONE"), 0);
  v1::DataReport report;
  findings.AppendTo(&report);
  ASSERT_EQ(report.findings_size(), 2);
  EXPECT_EQ(report.findings(0).code(), "TOO_LONG");
  EXPECT_EQ(report.findings(0).message(), "line 1");
  EXPECT_EQ(report.findings(0).first_places_size(), 10);
  EXPECT_EQ(report.findings(0).first_places(9), "f:10");
  EXPECT_TRUE(report.findings(1).error());
  EXPECT_EQ(report.findings(1).first_places(0), "v:9:3");
}

// Each key of data.findings, by reflection: a new one is covered.
TEST(FindingsTest, EachKeyDecidesWhatItsKindIs) {
  const auto* descriptor = v1::FindingsConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    const std::string code = absl::AsciiStrToUpper(field->name());
    for (const std::string word : {"error", "warn", "ignore"}) {
      v1::DataConfig data = Data();
      ASSERT_TRUE(SetScalar(*field, word, TextStyle::kPlain, data.mutable_findings()).ok());
      Findings findings(data);
      findings.Add(code, false, {.file = 0, .line = 7}, "something odd");
      findings.Add("OTHER", false, {.file = 0, .line = 8}, "something else");
      v1::DataReport report;
      findings.AppendTo(&report);
      ASSERT_EQ(report.findings_size(), word == "ignore" ? 1 : 2) << code;
      EXPECT_EQ(report.findings(0).error(), word == "error") << code;
      EXPECT_EQ(findings.ConfiguredErrors().ok(), word != "error") << code;
      if (word != "error") continue;
      const std::string advice =
          "; fix the data, or set data.findings." + std::string(field->name()) + ": warn";
      EXPECT_EQ(std::string(findings.ConfiguredErrors().message()),
                "f:7: something odd (" + code + ", 1 time)" + advice);
      EXPECT_EQ(report.findings(0).message(), "something odd" + advice);
    }
  }
}

TEST(FindingsTest, AFileOfTokenRowsBringsThemBackForFilesElsewhere) {
  Findings findings(Data());
  findings.Add("DUPLICATE", false, {.file = 0, .line = 3}, "the same stands at");
  findings.SetOtherPlace("DUPLICATE", {.file = 0, .line = 1});
  findings.AddElsewhere("BAD_FILE", true, "/gone", "not for others");
  internal::TokenSetSummary summary;
  findings.AppendTo(&summary);
  v1::DataConfig moved = Data();
  moved.mutable_train(0)->set_path("elsewhere/f");
  Findings again(moved);
  again.Take(summary);
  v1::DataReport report;
  again.AppendTo(&report);
  ASSERT_EQ(report.findings_size(), 1);
  EXPECT_EQ(report.findings(0).message(), "the same stands at elsewhere/f:1");
  EXPECT_EQ(report.findings(0).first_places(0), "elsewhere/f:3");
}

}  // namespace
}  // namespace trainerd::engine
