#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds tests with ThreadSanitizer (preset tsan, build/tsan) and runs them. Builds only what they
# need. Tests that use gRPC are not possible: the distribution's gRPC is not instrumented.
#   tests/tsan.sh [TEST …]      default: server_control_plane_test server_events_fan_out_test
# Exit code: 0 no data race, 1 a data race or a failed test, 77 ThreadSanitizer does not work here.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(server_control_plane_test server_events_fan_out_test)

probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'int main() { return 0; }' >"$probe/probe.cc"
if ! { c++ -fsanitize=thread "$probe/probe.cc" -o "$probe/probe" && "$probe/probe"; } \
  >/dev/null 2>&1; then
  echo "tsan.sh: skipped: programs with -fsanitize=thread do not build or run on this machine"
  exit 77
fi
cmake --preset tsan >/dev/null
mkdir -p build/tsan
nice -n 10 ninja -C build/tsan -j "$(nproc)" "${tests[@]}" >build/tsan/build.log || {
  tail -40 build/tsan/build.log >&2
  exit 1
}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:exitcode=66:second_deadlock_stack=1}
for test in "${tests[@]}"; do
  "build/tsan/tests/$test"
done
