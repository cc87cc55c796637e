#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that each op and each name of the template language has a direct test. Exits 1 with one line per name without.

    check_names_tested.py ROOT              check the tree
    check_names_tested.py ROOT --self-test  check that a missing name is found

- A test of tests/engine/ops calls each entry of the op table (engine/ops/op_table.h) and each function of
  engine/ops/*.h and engine/ops/layers/*.h.
- Each filter, test, function and method in the tables of engine/text/jinja has cases of its own in
  tests/golden/text/jinja_names.json, and each case uses the name.
"""

import glob
import json
import os
import re
import sys

ENTRY = re.compile(r"\(\*(\w+)\)\(")
# A function that is declared at namespace level.
FUNCTION = re.compile(r"^(?:[\w:]+(?:<[\w:, ]+>)?[&*]? )+[&*]?(\w+)\(", re.M)
TABLES = [  # kind in jinja_names.json, file, name of the table
    ("filter", "filters.cc", "kFilters"),
    ("filter", "list_filters.cc", "kListFilters"),
    ("test", "tests.cc", "kTests"),
    ("function", "functions.cc", "kFunctions"),
    ("string method", "string_methods.cc", "kStringMethods"),
    ("dict method", "methods.cc", "kDictMethods"),
    ("list method", "methods.cc", "kListMethods"),
    ("tuple method", "methods.cc", "kTupleMethods"),
]
# Names that the interpreter compares with literals instead of a table.
LITERALS = {
    "filter": {"format", "map", "select", "reject", "selectattr", "rejectattr"},
    "loop attribute": {
        "index",
        "index0",
        "revindex",
        "revindex0",
        "first",
        "last",
        "length",
        "depth",
        "depth0",
        "previtem",
        "nextitem",
        "cycle",
        "changed",
    },
}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def uses(text, name, after=r"(?!\w)"):
    return re.search(r"(?<!\w)" + re.escape(name) + after, text) is not None


def ops_of(root):
    """The names that tests must call, with the header of each."""
    folders = ("engine/ops/", "engine/ops/layers/")
    headers = [path for folder in folders for path in glob.glob(os.path.join(root, folder + "*.h"))]
    for path in sorted(headers):
        text = read(path)
        where = os.path.relpath(path, root)
        entries = ENTRY.findall(text) if os.path.basename(path) == "op_table.h" else []
        for name in entries + FUNCTION.findall(text):
            yield name, where


def check_ops(names, tests):
    return [
        f"{where}: no test in tests/engine/ops calls {name}"
        for name, where in names
        if not uses(tests, name, after=r"\(")
    ]


def jinja_names(root):
    """kind -> names of the interpreter."""
    names = {kind: set(literals) for kind, literals in LITERALS.items()}
    for kind, file, table in TABLES:
        text = read(os.path.join(root, "engine/text/jinja", file))
        body = text[text.index(f" {table}[] = ") :]
        found = re.findall(r'\{"([^"]+)", ', body[: body.index("};")])
        names.setdefault(kind, set()).update(found)
    return names


def check_jinja(names, golden):
    found = []
    for kind, known in sorted(names.items()):
        cases = golden["kinds"].get(kind, {})
        found += [
            f"tests/golden/text/jinja_names.json: no case for the {kind} {name}"
            for name in sorted(known - set(cases))
        ]
        found += [
            f"tests/golden/text/jinja_names.json: the interpreter has no {kind} {name}"
            for name in sorted(set(cases) - known)
        ]
        found += [
            f"tests/golden/text/jinja_names.json: {template!r} does not use the {kind} {name}"
            for name in sorted(known & set(cases))
            for template, _ in cases[name]
            if not uses(template, name)
        ]
    return found


def self_test(root):
    missed = []
    if (
        len(
            check_ops(
                [("rms_norm_forward", "x"), ("Swish", "y")],
                "table.rms_norm_forward(x); SwishGlu();",
            )
        )
        != 1
    ):
        missed.append("a missing op is not found")
    golden = {"kinds": {"filter": {"upper": [["{{ x|lower }}", ""]], "old": [["{{ x|old }}", ""]]}}}
    if len(check_jinja({"filter": {"upper", "new"}}, golden)) != 3:
        missed.append("a missing, an unknown or an unused filter is not found")
    if sum(1 for _ in ops_of(root)) < 25 or sum(map(len, jinja_names(root).values())) < 150:
        missed.append("the tables of the engine are not read")
    return missed


def main():
    root = sys.argv[1]
    if "--self-test" in sys.argv:
        problems = self_test(root)
    else:
        tests = "\n".join(
            map(
                read, glob.glob(os.path.join(root, "tests/engine/ops/**/*_test.cc"), recursive=True)
            )
        )
        golden = json.loads(read(os.path.join(root, "tests/golden/text/jinja_names.json")))
        problems = check_ops(ops_of(root), tests) + check_jinja(jinja_names(root), golden)
    print("\n".join(problems) or "each op and each name of the template language has a test")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
