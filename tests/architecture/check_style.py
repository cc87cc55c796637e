#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of CONTRIBUTING.md that a machine can check. Exits 1 with one line per violation.

    check_style.py ROOT              check the tree
    check_style.py ROOT --self-test  check that each rule catches a violation made for it

The words below come from the vocabulary in CONTRIBUTING.md: only words without a legitimate use in
this tree are listed. Public names (fields, codes, flags) keep their spelling; ALLOWED_TEXT has them.
"""
import os
import re
import shutil
import subprocess
import sys

MAX_COLUMNS = 100
CLANG_FORMAT = 14
MAX_FUNCTION_LINES = 70
LICENSE = "SPDX-License-Identifier: Apache-2.0"

CPP = (".h", ".cc", ".cu", ".cuh", ".inc")
SOURCE = CPP + (".proto", ".sh", ".py")
WRAPPED = CPP + (".proto", ".md")
PROSE = CPP + (".proto", ".md", ".sh", ".py", ".cmake", ".txt")

# Generated, or quoted from elsewhere.
SKIPPED = re.compile(r"^(engine/text/unicode/unicode_tables\.cc|LICENSE|tests/golden/text/templates/"
                     r"|deploy/demo/)")
# The only files that may catch exceptions: they wrap a library that throws.
MAY_CATCH = re.compile(
    r"^(engine/platform/torch_status\.(h|cc)|proto/contract/job_file/yaml_to_proto\.cc"
    r"|client/command_line\.cc|.*/main\.cc|engine/(worker|inspect)_main\.cc)$")
CPP_RULES = [
    ("a TODO is left", re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), None),
    ("exceptions are caught outside of the wrappers",
     re.compile(r"^\s*(\}\s*)?(catch\s*\(|try\s*\{)"), MAY_CATCH),
    ("std::stoi and its relatives throw on bad input",
     re.compile(r"\bstd::sto(i|l|ll|ul|ull|f|d|ld)\b"), None),
    ("timed waits of absl follow the system's clock: use proto/base/process/wake_up.h",
     re.compile(r"\b(Await|LockWhen|Wait|WaitForNotification)With(Timeout|Deadline)\b"), None),
    ("torch/torch.h costs 20 s per file", re.compile(r"#include <torch/torch\.h>"), None),
]

# Banned words and what to write instead.
WORDS = [
    (r"wishe?[sd]?|wanted", "requested action, requested"),
    (r"tells?|told", "report, notify, log"),
    (r"condemn\w*|mark(?:s|ed)? broken", "mark corrupt"),
    (r"believ\w+", "confirm, assume"),
    (r"evidence", "exit records, conclusive read error"),
    (r"stop ladder|ladder", "stop escalation"),
    (r"remake|remade", "recompute"),
    (r"prompter", "sample generator"),
    (r"arrangements?|arranges?", "plan"),
    (r"(?:goes|go|going|went) on", "continue, resume, keep running"),
    (r"at last|in the end", "finally, or nothing"),
    (r"(?:is|are|was|were|has|be) gone", "has exited, was deleted, no longer exists"),
    (r"tak(?:e|es|en) up", "reattach"),
    (r"look(?:s|ed|ing)? at", "read, check, inspect"),
    (r"asked for|asks for|asking for", "request, requested"),
    (r"left out", "skipped, omitted, dropped"),
    (r"for people", "human-readable"),
    (r"lack of memory", "out of memory"),
    (r"undisturbed", "uninterrupted"),
    (r"guardian", "supervisor"),
]
BANNED = [(re.compile(rf"(?<![\w.\"'-])(?:{words})(?![\w\"])", re.IGNORECASE), instead)
          for words, instead in WORDS]
# Public names and quotations in which a banned word may occur.
ALLOWED_TEXT = re.compile(r"left_out|\"left out\"|`left out`")

HEAD_OF_OTHER_BLOCK = re.compile(
    r"^(namespace|class|struct|enum|union|extern|if|for|while|switch|do|else|try|return|case"
    r"|default|using|typedef)\b")
CONSTANT = r"(?:inline )?const(?:expr)? "
TYPE_HEAD = re.compile(r"^(template <.*>\s*)?(class|struct|union)\b[^;]*\{$")


def source_files(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = listed.stdout.splitlines()
    else:
        paths = [os.path.relpath(os.path.join(folder, name), root)
                 for folder, _, names in os.walk(root) for name in names]
        paths = [path for path in paths if not path.startswith(("build/", ".git/"))]
    return sorted(path for path in paths
                  if not SKIPPED.match(path) and os.path.isfile(os.path.join(root, path)))


def check_lines(path, lines):
    in_tests = path.startswith("tests/")
    is_table = path.endswith(".md")
    in_code_block = False
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            in_code_block = not in_code_block
        exempt = is_table and (line.lstrip().startswith("|") or "](http" in line)
        exempt = exempt or re.search(r"https?://\S{60,}", line)
        if path.endswith(WRAPPED) and len(line) > MAX_COLUMNS and not exempt:
            yield f"{path}:{number}: {len(line)} columns; at most {MAX_COLUMNS}"
        if path.endswith(CPP) and not in_tests:
            for message, pattern, allowed in CPP_RULES:
                if pattern.search(line) and not (allowed and allowed.match(path)):
                    yield f"{path}:{number}: {message}"


def check_str_cat(path, text):
    """Abseil's other headers bring str_cat.h along in some versions only."""
    used = re.search(r"\babsl::Str(Cat|Append)\(", text)
    if used and not re.search(r'#include ["<]absl/strings/str_cat\.h[">]', text):
        yield f'{path}:1: uses absl::Str{used.group(1)} without #include "absl/strings/str_cat.h"'


def check_words(path, lines):
    if path.startswith("tests/architecture/"):
        return
    in_table = False
    for number, line in enumerate(lines, 1):
        # The vocabulary table itself lists the words.
        if path == "CONTRIBUTING.md" and line.startswith("|"):
            in_table = in_table or line.startswith("| instead of")
            if in_table:
                continue
        else:
            in_table = False
        text = ALLOWED_TEXT.sub("", line)
        for pattern, instead in BANNED:
            found = pattern.search(text)
            if found:
                yield f'{path}:{number}: "{found.group(0)}": write {instead}'


def function_blocks(lines, indent=0, begin=0, end=None):
    """Yields (first, last) line indexes of functions. Relies on clang-format's layout: a block that
    begins at some indentation ends with a brace at the same indentation."""
    end = len(lines) if end is None else end
    margin = " " * indent
    index = begin
    while index < end:
        line = lines[index]
        body = line[indent:]
        if not line.startswith(margin) or not body.strip() or body[0] in " #/}":
            index += 1
            continue
        # The head may take several lines; it ends with an opening brace, or with ; or : or ).
        head = index
        while head < end and not re.search(r"[{};]$|^\s*\}|:$", lines[head]) and head - index < 12:
            head += 1
        if head >= end or not lines[head].endswith("{"):
            index = head + 1
            continue
        close = head + 1
        while close < end and not re.match(rf"^{margin}(\}}|{CONSTANT})", lines[close]):
            close += 1
        if close < end and not lines[close].startswith(margin + "}"):
            # A constant whose initializer closed at another indentation.
            index = close
            continue
        text = " ".join(part.strip() for part in lines[index:head + 1])
        if TYPE_HEAD.match(text):
            yield from function_blocks(lines, indent + 2, head + 1, close)
        elif re.match(r"^(namespace|extern)\b", text):
            index = head + 1
            continue
        elif "(" in text and not HEAD_OF_OTHER_BLOCK.match(text):
            yield index, close
        index = close + 1


def check_functions(path, lines):
    for first, last in function_blocks(lines):
        length = last - first + 1
        if length > MAX_FUNCTION_LINES:
            yield f"{path}:{first + 1}: function of {length} lines; at most {MAX_FUNCTION_LINES}"


def check_file(path, text):
    lines = text.split("\n")
    if path.endswith(SOURCE) and not any(LICENSE in line for line in lines[:3]):
        yield f"{path}:1: no license line"
    yield from check_lines(path, lines)
    if path.endswith(PROSE):
        yield from check_words(path, lines)
    if path.endswith(CPP):
        yield from check_functions(path, lines)
        yield from check_str_cat(path, text)


def clang_format():
    """The program of the one version that .clang-format was written for; None if it is missing."""
    for name in (f"clang-format-{CLANG_FORMAT}", "clang-format"):
        if shutil.which(name) is not None:
            version = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
            if re.search(rf"version {CLANG_FORMAT}\.", version.stdout):
                return name
    return None


def check_format(root, paths):
    program = clang_format()
    if program is None:
        print(f"clang-format {CLANG_FORMAT} is not installed (Debian 12: clang-format-{CLANG_FORMAT}); "
              "another version formats otherwise: formatting is not checked")
        return
    formatted = [path for path in paths if path.endswith(CPP)]
    result = subprocess.run([program, "--dry-run", "--Werror", *formatted], cwd=root,
                            capture_output=True, text=True, check=False)
    seen = set()
    for line in result.stderr.splitlines():
        found = re.match(r"^(\S+?):(\d+):\d+: error: code should be clang-formatted", line)
        if found and found.group(1) not in seen:
            seen.add(found.group(1))
            yield f"{found.group(1)}:{found.group(2)}: run clang-format -i on this file"
    if result.returncode != 0 and not seen:
        yield f"{program}: {result.stderr.strip()[:500]}"


def check(root):
    found = []
    paths = [path for path in source_files(root) if path.endswith(PROSE)]
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            found += check_file(path, file.read())
    found += check_format(root, paths)
    if len(paths) < 20:
        found.append(f"only {len(paths)} files found below {root}: wrong folder?")
    return found


def self_test():
    license_line = f"// {LICENSE}\n"
    long_function = "int F(int x) {\n" + "  ++x;\n" * 70 + "  return x;\n}\n"
    long_method = "class A {\n  int F(int x) {\n" + "    ++x;\n" * 70 + "    return x;\n  }\n};\n"
    long_class = "class A {\n" + "  int F();\n" * 90 + "};\n"
    bad = [
        ("engine/a.cc", "int x;\n", "no license line"),
        ("engine/a.cc", license_line + "// TODO: x\n", "TODO"),
        ("engine/a.cc", license_line + "  try {\n", "caught"),
        ("engine/a.cc", license_line + "int x = std::stoi(y);\n", "std::stoi"),
        ("engine/a.cc", license_line + "#include <torch/torch.h>\n", "20 s"),
        ("server/a.cc", license_line + "mutex_.AwaitWithTimeout(condition, wait);\n", "wake_up.h"),
        ("engine/a.cc", license_line + "return absl::StrCat(a, b);\n", "str_cat.h"),
        ("engine/a.cc", license_line + "// " + "x" * 100 + "\n", "columns"),
        ("README.md", "x" * 101 + "\n", "columns"),
        ("engine/a.cc", license_line + long_function, "function of 73 lines"),
        ("engine/a.cc", license_line + long_method, "function of 73 lines"),
        ("engine/a.cc", license_line + "// The daemon tells the shim.\n", "report"),
        ("README.md", "The job goes on.\n", "continue"),
    ]
    good = [
        ("engine/a.cc", license_line + "#include <absl/strings/str_cat.h>\nabsl::StrAppend(&a, b);\n"),
        ("engine/a.cc", license_line + long_class),
        ("engine/a.cc", license_line + "out[\"left_out\"] = 1;  // \"left out\" is a public name\n"),
        ("README.md", "| " + "x" * 120 + " |\n"),
        ("client/command_line.cc", license_line + "  try {\n"),
    ]
    missed = [f"{path}: no violation with {expected}: {text[:80]!r}"
              for path, text, expected in bad
              if not any(expected in line for line in check_file(path, text))]
    missed += [f"refused: {line}" for path, text in good for line in check_file(path, text)]
    return missed


def main():
    problems = self_test() if "--self-test" in sys.argv else check(sys.argv[1])
    print("\n".join(problems) or "the style rules hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
