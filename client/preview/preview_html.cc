// SPDX-License-Identifier: Apache-2.0
#include "client/preview/preview_html.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/preview/html_text.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

// Trained text has an underline as well as a color, for paper and for readers who do not see the
// color. Marks of newlines and tabs are generated content, so that they are not copied with the
// text.
constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --dim: #5c5c5c; --line: #d0d0d0;
  --trained: #d7f2dc; --under: #14743a; --special: #6b3fa0; --hidden: #a33b00; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e6e6e6; --dim: #a3a3a3; --line: #44484d;
    --trained: #173d24; --under: #6fd08c; --special: #c9a6f5; --hidden: #ffab7a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
h2, h3 { font-size: 1.05rem; margin: 0; }
p { margin: .25rem 0; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem;
  margin: .75rem 0; }
dt { color: var(--dim); }
dd { margin: 0; white-space: pre-wrap; }
@media (max-width: 30rem) { dl { display: block; } dd { margin: 0 0 .25rem 1rem; } }
.legend { color: var(--dim); font-size: .9rem; padding: 0; list-style: none; }
section, article { margin: 1.25rem 0 0; }
section { border-left: .25rem solid var(--line); padding-left: .75rem; }
section article { margin-top: .75rem; }
.counts { color: var(--dim); font-size: .9rem; }
.why { font-weight: bold; }
.text { margin-top: .35rem; padding: .6rem .75rem; border: 1px solid var(--line);
  border-radius: .25rem; white-space: pre-wrap; tab-size: 4;
  font: .9rem/1.6 ui-monospace, monospace; }
.plain, mark { unicode-bidi: isolate; }
mark { background: var(--trained); color: inherit;
  text-decoration: underline solid 2px var(--under);
  text-underline-offset: .2em; text-decoration-skip-ink: none; -webkit-print-color-adjust: exact;
  print-color-adjust: exact; }
.left mark { background: none; text-decoration-style: dotted; }
i { font-style: normal; }
.n::before { content: "\23CE"; color: var(--dim); }
.t::before { content: "\21E5"; color: var(--dim); }
mark .n::before, mark .t::before { color: var(--under); font-weight: bold; }
.cut::before { content: attr(data-cut); color: var(--hidden); border-left: 3px double;
  padding: 0 .4em; font: bold .8rem system-ui, sans-serif; }
.weight::before { content: attr(data-weight); color: var(--under);
  padding: 0 .3em; font: bold .8rem system-ui, sans-serif; }
.c { color: var(--hidden); border: 1px dashed; border-radius: .2rem; font-size: .8em; }
.s { color: var(--special); font-weight: bold; }
.text:hover span[title] { box-shadow: -1px 0 0 var(--line); }
.text span[title]:hover { outline: 1px solid var(--ink); }
)css";

constexpr char kLegend[] =
    R"html(<ul class="legend">
<li><mark>Underlined on color</mark>: the model is trained to write this text. It only reads the
rest.</li>
<li><span class="s">Bold in color</span>: one token that the tokenizer flags special. The same
letters in another style are ordinary text.</li>
<li><i class="n"></i> marks a newline and <i class="t"></i> a tab, which are copied as such;
<i class="c">U+200B</i> marks an invisible character.</li>
<li>Point at text to see where its tokens begin, and their ids.</li>
</ul>
)html";

// The tooltip of a part: its token ids, how many of them are trained if they differ, and its text.
std::string Tooltip(const PreviewItem& item, const TokenText& part) {
  std::vector<int64_t> ids;
  size_t trained = 0;
  for (size_t i = part.begin; i < part.end; ++i) {
    ids.push_back(item.ids[i]);
    trained += item.labels[i] != kNotTrained ? 1 : 0;
  }
  const char* kind = part.special ? "special token " : ids.size() > 1 ? "tokens " : "token ";
  const std::string partly = trained == 0 || trained == ids.size()
                                 ? ""
                                 : absl::StrCat(" (", trained, " of ", ids.size(), " trained)");
  return absl::StrCat(kind, absl::StrJoin(ids, " "), partly, ": \xE2\x80\x9C", HtmlLine(part.text),
                      "\xE2\x80\x9D");
}

// Generated content, so that it is not copied with the text.
std::string CutElement(int64_t cut_tokens) {
  return absl::StrCat("<i class=\"cut\" data-cut=\"", CutText(cut_tokens), "\"></i>");
}

std::string WeightElement(double weight) {
  return absl::StrCat("<i class=\"weight\" data-weight=\"", WeightText(weight), "\"></i>");
}

// White space between the elements would be text.
std::string TextElement(const PreviewItem& item) {
  std::string html = "<div class=\"text\" translate=\"no\">";
  size_t next = 0;
  for (const Segment& segment : SplitByTraining(item)) {
    std::string run;
    for (; next < item.texts.size() && item.texts[next].begin < segment.end; ++next) {
      absl::StrAppend(&run, "<span", item.texts[next].special ? " class=\"s\"" : "", " title=\"",
                      Tooltip(item, item.texts[next]), "\">", HtmlOfTokens(item.texts[next].text),
                      "</span>");
    }
    if (segment.after_cut) html += CutElement(0);
    // A character that began in the segment before may cover this whole segment.
    if (run.empty()) continue;
    if (segment.weight != 1) html += WeightElement(segment.weight);
    absl::StrAppend(&html, segment.trained ? "<mark>" : "<span class=\"plain\">", run,
                    segment.trained ? "</mark>" : "</span>");
  }
  if (item.cut_tokens > 0) html += CutElement(item.cut_tokens);
  return html + "</div>";
}

std::string Article(const PreviewItem& item) {
  const char* heading = item.row.has_value() ? "h3" : "h2";
  std::string html = absl::StrCat("<article", item.left_out.empty() ? "" : " class=\"left\"",
                                  ">\n<", heading, ">", ExampleTitle(item), "</", heading,
                                  ">\n<p class=\"counts\">", CountsText(CountTraining(item)));
  if (!item.left_out.empty()) {
    absl::StrAppend(&html,
                    " \xC2\xB7 <span class=\"why\">skipped in training: ", HtmlText(item.left_out),
                    "</span>");
  }
  return absl::StrCat(html, "</p>\n", TextElement(item), "\n</article>\n");
}

// The heading of the packed sequence whose conversations begin at `first`.
std::string RowHeading(const PreviewPage& page, size_t first) {
  TrainingCounts counts;
  int64_t documents = 0;
  for (size_t i = first; i < page.items.size() && page.items[i].row == page.items[first].row; ++i) {
    counts.Add(page.items[i]);
    ++documents;
  }
  std::string fill;
  if (page.max_length > 0) {
    fill = absl::StrCat(
        ", ",
        FormatPercent(static_cast<double>(counts.tokens) / static_cast<double>(page.max_length)),
        " of the row's room filled");
  }
  return absl::StrCat("<section>\n<h2>row ", *page.items[first].row, "</h2>\n<p class=\"counts\">",
                      Counted(documents, "document"), ", ", CountsText(counts), fill, "</p>\n");
}

std::string Header(const PreviewPage& page) {
  const PreviewSummary sum = SumUp(page.items);
  std::string html =
      absl::StrCat("<header>\n<h1>What ", HtmlText(page.job_file), " trains on</h1>\n<p>",
                   HtmlText(page.extent), ": ", CountsText(sum.counts));
  if (sum.left_out > 0) {
    absl::StrAppend(&html, " in the ", FormatCount(sum.trained_on), " trained on; ",
                    FormatCount(sum.left_out), " skipped");
  }
  absl::StrAppend(&html, "</p>\n<dl>\n");
  for (const auto& [key, value] : page.settings)
    absl::StrAppend(&html, "<dt>", HtmlText(key), "</dt><dd>", HtmlText(value), "</dd>\n");
  return absl::StrCat(html, "</dl>\n", kLegend, "</header>\n");
}

}  // namespace

PreviewSummary SumUp(const std::vector<PreviewItem>& items) {
  PreviewSummary sum;
  for (const PreviewItem& item : items) {
    const int64_t examples = item.answer == kRejectedAnswer ? 0 : 1;
    if (!item.left_out.empty()) {
      sum.left_out += examples;
      continue;
    }
    sum.trained_on += examples;
    sum.counts.Add(item);
  }
  return sum;
}

std::string RenderPreviewPage(const PreviewPage& page) {
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Preview "
      "of ",
      HtmlText(page.job_file), "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n",
      Header(page), "<main>\n");
  for (size_t i = 0; i < page.items.size(); ++i) {
    const std::optional<int64_t> row = page.items[i].row;
    const bool row_begins = row.has_value() && (i == 0 || page.items[i - 1].row != row);
    const bool row_ends =
        row.has_value() && (i + 1 == page.items.size() || page.items[i + 1].row != row);
    if (row_begins) html += RowHeading(page, i);
    html += Article(page.items[i]);
    if (row_ends) html += "</section>\n";
  }
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace trainerd::client
