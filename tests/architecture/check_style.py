#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what CONTRIBUTING.md asks for and a machine can see. Exits 1 with one line a violation."""
import os
import re
import sys

# The only places that may catch exceptions: where a library that throws is wrapped.
MAY_CATCH = re.compile(r"^(engine/platform/torch_status\.(h|cc)|proto/contract/config/yaml_to_proto\.cc|client/command_line\.cc|.*/main\.cc|engine/(worker|inspect)_main\.cc)$")
RULES = [
    ("a TODO is left", re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), None),
    ("exceptions are caught outside the wrappers", re.compile(r"^\s*(\}\s*)?(catch\s*\(|try\s*\{)"), MAY_CATCH),
    ("std::stoi and its kin throw on bad input", re.compile(r"\bstd::sto(i|l|ll|ul|ull|f|d|ld)\b"), None),
    ("torch/torch.h costs 20 s a file", re.compile(r'#include <torch/torch\.h>'), None),
]
LICENCE = "SPDX-License-Identifier: Apache-2.0"


def source_files(root):
    for top in ("proto", "client", "server", "engine", "tests", "deploy"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                if name.endswith((".h", ".cc", ".cu", ".cuh", ".proto", ".sh")) or (name.endswith(".py")):
                    yield path


def main():
    root, found = sys.argv[1], []
    for path in source_files(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            lines = file.read().split("\n")
        if not any(LICENCE in line for line in lines[:3]):
            found.append(f"{path}:1: no licence line")
        if path.startswith("tests/architecture/"):
            continue
        for number, line in enumerate(lines, 1):
            for message, pattern, allowed in RULES:
                if pattern.search(line) and path.endswith((".h", ".cc", ".cu", ".cuh")) and not path.startswith("tests/") and not (allowed and allowed.match(path)):
                    found.append(f"{path}:{number}: {message}")
    print("\n".join(found) or "style is as CONTRIBUTING.md says")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
