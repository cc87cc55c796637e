// SPDX-License-Identifier: Apache-2.0
#include "client/shell/man_page.h"

#include <utf8proc.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace trainerd::client {
namespace {

std::string Header(const char* name, const char* section, const ManPage& page) {
  return absl::StrCat(".TH ", name, " ", section, " \"\" \"trainerd ", page.version, "\"\n");
}

std::string Bold(const std::string& text) { return absl::StrCat("\\fB", RoffText(text), "\\fR"); }
std::string Italic(const std::string& text) { return absl::StrCat("\\fI", RoffText(text), "\\fR"); }

// A paragraph that is indented below its label.
std::string Item(const std::string& label, const std::string& help) {
  return absl::StrCat(".TP\n", label, "\n", RoffText(help), "\n");
}

std::string Label(const CommandArgument& argument) {
  const std::string name =
      absl::StrCat(Italic(argument.name), argument.repeated ? RoffText("…") : "");
  return argument.required ? name : absl::StrCat("[", name, "]");
}

std::string FlagItem(const CommandFlag& flag) {
  const std::string names = absl::StrJoin(
      flag.names, ", ",
      [](std::string* out, const std::string& name) { absl::StrAppend(out, Bold(name)); });
  return Item(absl::StrCat(names, flag.value.empty() ? "" : " ", Italic(flag.value)), flag.help);
}

void AppendCommand(const std::string& parent, const CommandTree& command, std::string* out) {
  const std::string name = absl::StrCat(parent, " ", command.name);
  absl::StrAppend(out, ".SS \"", RoffText(name), "\"\n", Bold(name));
  for (const CommandArgument& argument : command.arguments)
    absl::StrAppend(out, " ", Label(argument));
  absl::StrAppend(out, "\n.PP\n", RoffText(command.help), ".\n");
  for (const CommandArgument& argument : command.arguments)
    absl::StrAppend(out, Item(Italic(argument.name), argument.help));
  for (const CommandFlag& flag : command.flags) {
    if (flag.names.back() != "--help") absl::StrAppend(out, FlagItem(flag));
  }
  for (const CommandTree& next : command.commands) AppendCommand(name, next, out);
}

}  // namespace

std::string RoffText(const std::string& text) {
  std::string out;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t point = 0;
    utf8proc_ssize_t size = utf8proc_iterate(at, left, &point);
    if (size <= 0) {
      size = 1;
      point = '?';
    }
    const bool begins_line = out.empty() || out.back() == '\n';
    if (point == '\\') {
      out += "\\e";
    } else if (point == '-') {
      out += "\\-";
    } else if (begins_line && (point == '.' || point == '\'')) {
      absl::StrAppend(&out, "\\&", std::string(1, static_cast<char>(point)));
    } else if (point == '"') {
      // It ends an argument of a request.
      out += "\\(dq";
    } else if (point < 128) {
      out.push_back(static_cast<char>(point));
    } else {
      absl::StrAppendFormat(&out, "\\[u%04X]", point);
    }
    at += size;
    left -= size;
  }
  return out;
}

std::string TrainctlPage(const CommandTree& tree, const ManPage& page) {
  std::string out = absl::StrCat(
      Header("TRAINCTL", "1", page), ".SH NAME\ntrainctl \\- control trainerd\n", ".SH SYNOPSIS\n",
      Bold("trainctl"), " [", Italic("OPTIONS"), "] ", Italic("COMMAND"), " ", Italic("…"),
      "\n.SH DESCRIPTION\n", RoffText(tree.help), "\n.SH OPTIONS\n");
  for (const CommandFlag& flag : tree.flags) absl::StrAppend(&out, FlagItem(flag));
  out += ".SH COMMANDS\n";
  for (const CommandTree& command : tree.commands) AppendCommand("trainctl", command, &out);
  absl::StrAppend(&out, ".SH EXIT STATUS\n", RoffText(page.footer),
                  "\n.SH SEE ALSO\n.BR trainerd (8),\n.BR trainerd.yaml (5)\n");
  return out;
}

std::string SettingsPage(const std::string& reference, const ManPage& page) {
  std::string out =
      absl::StrCat(Header("TRAINERD.YAML", "5", page),
                   ".SH NAME\ntrainerd.yaml \\- settings of trainerd\n", ".SH DESCRIPTION\n.nf\n");
  for (const absl::string_view line : absl::StrSplit(reference, '\n')) {
    absl::StrAppend(&out, RoffText(std::string(absl::StripTrailingAsciiWhitespace(line))), "\n");
  }
  absl::StrAppend(&out, ".fi\n.SH SEE ALSO\n.BR trainerd (8),\n.BR trainctl (1)\n");
  return out;
}

}  // namespace trainerd::client
