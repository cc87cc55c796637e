#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the first process of the container (deploy/container/entrypoint.sh) with a made-up trainerd and trainctl.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
expect() { # WHAT EXPECTED GOT
  [ "$2" = "$3" ] || { printf 'FAIL: %s: expected\n%s\ngot\n%s\n' "$1" "$2" "$3"; failed=1; }
}
cat > "$work/trainctl" <<'END'
#!/bin/sh
echo "trainctl $*" >> "$WORK/log"
exit "${DRAIN_CODE:-0}"
END
cat > "$work/trainerd" <<'END'
#!/bin/bash
[ -z "${EXIT_CODE:-}" ] || exit "$EXIT_CODE"
trap 'echo "trainerd ends" >> "$WORK/log"; exit 0' TERM
echo "trainerd $*" >> "$WORK/log"
while true; do sleep 0.01; done
END
chmod +x "$work"/train*
run() { env WORK="$work" PATH="$work:$PATH" "$@"; }

# stop_and_read NAME=VALUE…: starts it, stops it as a container engine does, prints what happened.
stop_and_read() {
  rm -f "$work/log"
  (exec env WORK="$work" PATH="$work:$PATH" "$@" sh "$root/deploy/container/entrypoint.sh" --config /data/trainerd.yaml &>/dev/null) &
  local entrypoint=$!
  until [ -e "$work/log" ]; do sleep 0.01; done
  kill -TERM $entrypoint
  wait $entrypoint
  echo "exit code $?" >> "$work/log"
  cat "$work/log"
}
expect "a stop drains first" "trainerd --config /data/trainerd.yaml
trainctl drain --pause-running --deadline 60s --wait
trainerd ends
exit code 0" "$(stop_and_read)"
expect "time for the checkpoints" "trainctl drain --pause-running --deadline 5m --wait" \
  "$(stop_and_read TRAINERD_DRAIN_DEADLINE=5m | grep trainctl)"
expect "a drain that fails ends the daemon too" "trainerd ends
exit code 0" "$(stop_and_read DRAIN_CODE=5 | tail -2)"
for code in 0 1 7; do
  run EXIT_CODE=$code sh "$root/deploy/container/entrypoint.sh"
  expect "the daemon's exit code" $code $?
done
[ $failed = 0 ] && echo "the entrypoint drains, ends the daemon and returns its exit code"
exit $failed
