// SPDX-License-Identifier: Apache-2.0
// The page as text: its parts are looked for as the header states them. A browser reads one in
// tests/integration/data/preview_html_test.py.
#include "client/preview/preview_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/preview/preview_page.h"
#include "tests/client/preview/preview_fixture.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// One token per byte; the two bytes of é make up one character.
PreviewItem Item(const std::string& text, const std::vector<size_t>& trained) {
  PreviewItem item;
  for (const char c : text) {
    const size_t place = item.ids.size();
    item.ids.push_back(static_cast<unsigned char>(c));
    if (c == '\xA9') {
      item.texts.back().text += c;
    } else {
      item.texts.push_back({.begin = place, .text = std::string(1, c)});
    }
    item.texts.back().end = place + 1;
  }
  item.labels.assign(item.ids.size(), kNotTrained);
  for (const size_t place : trained) item.labels[place] = item.ids[place];
  return item;
}

std::string Page(const PreviewPage& page) { return RenderPreviewPage(page); }

TEST(PreviewHtmlTest, MarksTrainedRunsTokenByToken) {
  EXPECT_THAT(Page({.items = {Item("abcd", {1, 2})}}),
              HasSubstr("<div class=\"text\" translate=\"no\">"
                        "<span class=\"plain\"><span title=\"token 97: “a”\">a</span></span>"
                        "<mark><span title=\"token 98: “b”\">b</span>"
                        "<span title=\"token 99: “c”\">c</span></mark>"
                        "<span class=\"plain\"><span title=\"token 100: “d”\">d</span></span>"
                        "</div>"));
}

TEST(PreviewHtmlTest, MarksSpecialTokensByIdNotByText) {
  PreviewItem item = Item("<|", {});
  item.ids.push_back(1000);
  item.labels.push_back(1000);
  item.texts.push_back({.begin = 2, .end = 3, .text = "<|end|>", .special = true});
  const std::string html = Page({.items = {item}});
  EXPECT_THAT(html, HasSubstr("<mark><span class=\"s\" title=\"special token 1000: "
                              "“&lt;|end|&gt;”\">&lt;|end|&gt;</span></mark>"));
  EXPECT_THAT(html, HasSubstr("<span title=\"token 60: “&lt;”\">&lt;</span>"));
}

TEST(PreviewHtmlTest, KeepsACharacterOfSeveralTokensWhole) {
  std::string html = Page({.items = {Item("\xC3\xA9", {0, 1})}});
  EXPECT_THAT(html, HasSubstr("<mark><span title=\"tokens 195 169: “é”\">é</span></mark>"));
  EXPECT_THAT(html, Not(HasSubstr("\xEF\xBF\xBD")));
  html = Page({.items = {Item("\xC3\xA9!", {1})}});
  EXPECT_THAT(html, HasSubstr("<span class=\"plain\"><span title=\"tokens 195 169 (1 of 2 "
                              "trained): “é”\">é</span></span>"
                              "<span class=\"plain\"><span title=\"token 33"));
  EXPECT_THAT(html, Not(HasSubstr("<mark></mark>")));
}

TEST(PreviewHtmlTest, MarksWhereMaxLengthCuts) {
  PreviewItem item = Item("ab", {1});
  item.cuts = {1};
  item.cut_tokens = 9;
  EXPECT_THAT(
      Page({.items = {item}}),
      HasSubstr("a</span></span><i class=\"cut\" data-cut=\"data.max_length cuts here\"></i>"
                "<mark><span title=\"token 98: “b”\">b</span></mark>"
                "<i class=\"cut\" data-cut=\"data.max_length cuts here: 9 more tokens\"></i>"
                "</div>"));
  EXPECT_THAT(Page({.items = {Item("ab", {1})}}), Not(HasSubstr("<i class=\"cut\"")));
}

TEST(PreviewHtmlTest, MarksWeights) {
  PreviewItem item = Item("abc", {1, 2});
  item.weights = {1, 1, 0.5};
  EXPECT_THAT(Page({.items = {item}}),
              HasSubstr("<mark><span title=\"token 98: “b”\">b</span></mark>"
                        "<i class=\"weight\" data-weight=\"weight 0.5\"></i>"
                        "<mark><span title=\"token 99: “c”\">c</span></mark>"));
}

TEST(PreviewHtmlTest, EscapesAllData) {
  PreviewItem item = Item("\"\n\t'&<x\x1b", {0});
  item.left_out = "<u>";
  const std::string html = Page(
      {.job_file = "<title>", .extent = "<em>", .settings = {{"<k>", "a\n<v>"}}, .items = {item}});
  EXPECT_THAT(html, HasSubstr("<mark><span title=\"token 34: “&quot;”\">&quot;</span></mark>"));
  EXPECT_THAT(html, HasSubstr("<span title=\"token 10: “\\n”\"><i class=\"n\">\n</i></span>"
                              "<span title=\"token 9: “\\t”\"><i class=\"t\">\t</i></span>"));
  EXPECT_THAT(html,
              HasSubstr("<span title=\"token 27: “U+001B”\"><i class=\"c\">U+001B</i></span>"));
  EXPECT_THAT(html, HasSubstr("<title>Preview of &lt;title&gt;</title>"));
  EXPECT_THAT(html, HasSubstr("<h1>What &lt;title&gt; trains on</h1>"));
  EXPECT_THAT(html, HasSubstr("skipped in training: &lt;u&gt;"));
  EXPECT_THAT(html, HasSubstr("<dt>&lt;k&gt;</dt><dd>a\n&lt;v&gt;</dd>"));
  EXPECT_THAT(html, HasSubstr("<p>&lt;em&gt;: "));
}

TEST(PreviewHtmlTest, LoadsAndRunsNothing) {
  const std::string html = Page({.items = {Item("a", {})}});
  EXPECT_THAT(html, HasSubstr("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                              "'none'; style-src 'unsafe-inline'\">"));
  for (const char* never : {"<script", "<link", "<img", "src=", "href=", "url(", "@import", "://"})
    EXPECT_THAT(html, Not(HasSubstr(never)));
}

TEST(PreviewHtmlTest, CountsSkippedItemsSeparately) {
  PreviewItem left_out = Item("xyz", {0});
  left_out.example = 1;
  left_out.left_out = "too long";
  const std::string html =
      Page({.extent = "all 2 examples", .items = {Item("abcd", {0}), left_out}});
  EXPECT_THAT(html,
              HasSubstr("<p>all 2 examples: 4 tokens, 1 trained (25 %) in the 1 trained on; 1 "
                        "skipped</p>"));
  EXPECT_THAT(html, HasSubstr("<article>\n<h2>example 0</h2>\n<p class=\"counts\">4 tokens, 1 "
                              "trained (25 %)</p>"));
  EXPECT_THAT(html, HasSubstr("<article class=\"left\">\n<h2>example 1</h2>\n<p class=\"counts\">3 "
                              "tokens, 1 trained (33 %) · <span class=\"why\">skipped in "
                              "training: too long</span></p>"));
  EXPECT_THAT(Page({.extent = "e", .items = {Item("a", {})}}),
              HasSubstr("<p>e: 1 token, 0 trained (0 %)</p>"));
}

TEST(PreviewHtmlTest, ShowsBothAnswersOfAPairAndCountsItOnce) {
  PreviewItem chosen = Item("ab", {1}), rejected = Item("ac", {1});
  chosen.example = rejected.example = 3;
  chosen.answer = kChosenAnswer;
  rejected.answer = kRejectedAnswer;
  const std::string html = Page({.items = {chosen, rejected}});
  const size_t first = html.find("<h2>example 3, chosen</h2>");
  const size_t second = html.find("<h2>example 3, rejected</h2>");
  ASSERT_NE(second, std::string::npos) << html;
  EXPECT_LT(first, second);
  const PreviewSummary sum = SumUp({chosen, rejected});
  EXPECT_EQ(sum.trained_on, 1);
  EXPECT_EQ(sum.counts.trained, 2) << "both answers are scored";
  chosen.left_out = rejected.left_out = "too long";
  EXPECT_EQ(SumUp({chosen, rejected}).left_out, 1);
}

TEST_F(PreviewTest, PageOfPairsNamesTheLossInsteadOfTheTargets) {
  folder_.Write("job.yaml",
                "model: {path: tiny}\npreference: {loss: ipo}\ndata: {train: a.jsonl}\n");
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml", "--html", "page.html"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(Read("page.html"), HasSubstr("<dt>preference.loss</dt><dd>ipo</dd>"));
  EXPECT_THAT(Read("page.html"), Not(HasSubstr("data.train_on")));
}

TEST(PreviewHtmlTest, GroupsDocumentsByPackedSequence) {
  PreviewPage page{.max_length = 10};
  for (const auto& [row, example] : {std::pair{0, 7}, {0, 3}, {1, 5}}) {
    PreviewItem item = Item("abc", {0});
    item.row = row;
    item.example = example;
    page.items.push_back(item);
  }
  const std::string html = Page(page);
  const size_t row0 = html.find(
      "<section>\n<h2>row 0</h2>\n<p class=\"counts\">2 documents, 6 tokens, 2 trained (33 %), 60 "
      "% "
      "of the row's room filled</p>\n<article>\n<h3>example 7</h3>");
  const size_t second = html.find("<article>\n<h3>example 3</h3>");
  const size_t row1 = html.find(
      "</section>\n<section>\n<h2>row 1</h2>\n<p class=\"counts\">1 document, 3 tokens, 1 trained "
      "(33 %), 30 % of the row's room filled</p>\n<article>\n<h3>example 5</h3>");
  ASSERT_NE(row1, std::string::npos) << html;
  EXPECT_LT(row0, second);
  EXPECT_LT(second, row1);
  EXPECT_NE(html.find("</article>\n</section>\n</main>", row1), std::string::npos);
  page.max_length = 0;
  EXPECT_THAT(Page(page), Not(HasSubstr("room filled")));
}

TEST_F(PreviewTest, WritesThePageAndPrintsItsPath) {
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml", "--html", "page.html"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_EQ(
      result.out,
      folder_.path() + "/page.html: all 2 examples in file order, 4 tokens, 2 trained (50 %)\n");
  const std::string html = Read("page.html");
  EXPECT_THAT(html, HasSubstr("<h1>What job.yaml trains on</h1>"));
  EXPECT_THAT(html, HasSubstr("<dt>model and tokenizer</dt><dd>" + folder_.path() + "/tiny</dd>"));
  EXPECT_THAT(html, HasSubstr("<dt>data.train</dt><dd>" + folder_.path() + "/a.jsonl</dd>"));
  EXPECT_THAT(html, HasSubstr("<dt>data.train_on</dt><dd>assistant</dd>"));
  EXPECT_THAT(html, HasSubstr("<dt>data.packing</dt><dd>bfd</dd>"));
  EXPECT_THAT(html, HasSubstr("<mark><span title=\"token 99: “c”\">c</span>"));
  EXPECT_THAT(Calls(),
              HasSubstr("preview --job " + folder_.path() + "/job.yaml --limit 3 --json\n"));
  // A second page takes the first one's place, and no temporary file stays.
  EXPECT_EQ(
      Trainctl(folder_.path(), {"preview", "job.yaml", "--packed", "--html", "page.html", "--limit",
                                "1", "--set", "data.max_length=8"})
          .out,
      folder_.path() +
          "/page.html: the first row in the order of the first epoch, 4 tokens, 1 trained (25 "
          "%)\n");
  EXPECT_THAT(Read("page.html"), HasSubstr("2 documents, 4 tokens, 1 trained (25 %), 50 % of the "
                                           "row's room filled"));
  EXPECT_THAT(Read("page.html"), HasSubstr("<dt>--set</dt><dd>data.max_length=8</dd>"));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().filename().string(),
                ::testing::AnyOf("page.html", "job.yaml", "trainerd-inspect", "calls"));
    ++files;
  }
  EXPECT_EQ(files, 4u);
}

TEST_F(PreviewTest, PrintsOneDocumentForPrograms) {
  for (const char* form : {"json", "jsonl", "yaml"}) {
    const RunResult result =
        Trainctl(folder_.path(), {"-o", form, "preview", "job.yaml", "--html", "page.html"});
    EXPECT_EQ(result.code, kDone) << result.err;
    EXPECT_EQ(result.out,
              "{\"html\":\"" + folder_.path() +
                  "/page.html\",\"left_out\":1,\"shown\":2,\"tokens\":4,\"trained_on\":1,"
                  "\"trained_tokens\":2}\n");
    EXPECT_THAT(Read("page.html"), HasSubstr("<mark>"));
  }
}

TEST_F(PreviewTest, ChecksThePathBeforeTheWork) {
  ASSERT_EQ(mkfifo((folder_.path() + "/pipe").c_str(), 0600), 0);
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"--html", "absent/page.html"}, "there is no folder " + folder_.path() + "/absent"},
      {{"--html", "."}, "is a folder"},
      {{"--html", "pipe"}, "not a regular file"},
      {{"--html", ""}, "needs the name of a file"},
      {{"--html", "page.html", "--json"}, "--json excludes --html"},
      {{"--html"}, "--html"},
  };
  for (const auto& [more, message] : cases) {
    std::vector<std::string> arguments = {"preview", "job.yaml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const RunResult result = Trainctl(folder_.path(), arguments);
    EXPECT_EQ(result.code, kUsage);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(message));
  }
  EXPECT_EQ(Calls(), "");
  EXPECT_TRUE(std::filesystem::is_fifo(folder_.path() + "/pipe"));
}

// Also for root, whom permissions do not stop: no name in /proc can be made.
TEST_F(PreviewTest, NamesThePathThatCannotBeWritten) {
  const RunResult result =
      Trainctl(folder_.path(), {"preview", "job.yaml", "--html", "/proc/self/page.html"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("cannot write the page"));
  EXPECT_THAT(result.err, HasSubstr("/page.html"));
}

TEST_F(PreviewTest, WritesThroughASymbolicLink) {
  folder_.Write("real.html", "old");
  ASSERT_EQ(symlink("real.html", (folder_.path() + "/link.html").c_str()), 0);
  const RunResult result = Trainctl(folder_.path(), {"preview", "job.yaml", "--html", "link.html"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_TRUE(std::filesystem::is_symlink(folder_.path() + "/link.html"));
  EXPECT_THAT(Read("real.html"), HasSubstr("<mark>"));
}

}  // namespace
}  // namespace trainerd::client
