#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the dev preset and runs every test that this machine can run. Arguments go to ctest
# (for example -L unit, -R packing). Labels: unit, integration, gpu, bench-smoke. A test that cannot run is skipped with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."
export TRAINERD_CACHE=${TRAINERD_CACHE:-$HOME/.cache/trainerd}

deploy/install_dependencies.sh --tests --model --browser
cores=$(nproc)
cmake --preset dev >/dev/null
ninja -C build/dev -j "$cores"
deploy/demo/make_model.sh build/dev/bin
log=build/dev/tests.log
status=0
(cd build/dev && ctest --output-on-failure --timeout 900 -j "$cores" "$@") 2>&1 | tee "$log" || status=$?
# ctest says "100% tests passed, 0 tests failed out of N"; the line below is the same for scripts.
total=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\2 \1/p' "$log" | tail -1)
skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
if [ -n "$total" ]; then
  read -r all failed <<<"$total"
  echo "$((all - failed - skipped)) passed, $failed failed, $skipped skipped"
fi
exit "$status"
