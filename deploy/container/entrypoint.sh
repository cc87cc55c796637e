#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# First process of the container: runs trainerd with the arguments of the container. When the
# container is stopped, running jobs write a checkpoint first; they continue after the next start.
#   TRAINERD_DRAIN_DEADLINE   time for the checkpoints, 60s by default; `docker stop --time` must be
#                             longer
daemon=

stop() {
  trap '' TERM INT
  trainctl drain --pause-running --deadline "${TRAINERD_DRAIN_DEADLINE:-60s}" --wait ||
    echo "entrypoint: the daemon did not drain; jobs continue from their last checkpoint" >&2
  [ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null || true
}
trap stop TERM INT
trainerd "$@" &
daemon=$!

# wait also ends at a signal, and collects the processes that their parents left to the first one.
while true; do
  wait "$daemon"
  status=$?
  kill -0 "$daemon" 2>/dev/null || exit $status
done
