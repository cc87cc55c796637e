# SPDX-License-Identifier: Apache-2.0
"""Writes a definition of each CUDA function that libraries leave undefined.

    make_stubs.py NM OUTPUT LIBRARY ...

A definition ends the process with the function's name. It is weak: one in the fake's own sources
replaces it."""

import subprocess
import sys

# Libraries whose symbols have no version that names them, by the prefix of their functions.
UNVERSIONED = ("nccl", "cuFile", "curand", "cusparseLt", "nvshmem")
# LibTorch's CPU part needs it too, so that the real one is installed.
REAL = "libcupti.so"
HEAD = """#include <cstdio>
#include <cstdlib>

namespace {
int Missing(const char* name) {
  std::fprintf(stderr, "fake CUDA device: %s is not defined (tests/fakes/cuda)\\n", name);
  std::abort();
}
}  // namespace

extern "C" {
"""


def undefined_functions(nm, libraries):
    found = set()
    for library in libraries:
        result = subprocess.run(
            [nm, "-D", "--undefined-only", library], capture_output=True, text=True, check=True
        )
        for line in result.stdout.splitlines():
            name, _, version = line.split()[-1].partition("@")
            is_cuda = version.startswith("libcu") and not version.startswith(REAL)
            if is_cuda or name.startswith(UNVERSIONED):
                found.add(name)
    return sorted(found)


def main():
    nm, output, *libraries = sys.argv[1:]
    names = undefined_functions(nm, libraries)
    if not names:
        sys.exit(f"make_stubs.py: {' '.join(libraries)} need no CUDA library")
    with open(output, "w") as file:
        file.write(HEAD)
        for name in names:
            file.write(f'__attribute__((weak)) int {name}() {{ return Missing("{name}"); }}\n')
        file.write('}  // extern "C"\n')


if __name__ == "__main__":
    main()
