// SPDX-License-Identifier: Apache-2.0
#include "engine/data/findings.h"

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

TEST(FindingsTest, CountsByKindAndKeepsTheFirstPlaces) {
  Findings findings;
  EXPECT_FALSE(findings.HasErrors());
  for (int line = 1; line <= 25; ++line) {
    findings.Add("TOO_LONG", false, "f:" + std::to_string(line), "line " + std::to_string(line));
  }
  findings.Add("BAD_JSON", true, "f:9", "bad");
  EXPECT_TRUE(findings.HasErrors());
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
}

}  // namespace
}  // namespace trainerd::engine
