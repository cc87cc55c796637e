#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# copy_clients.sh TO: copies what a client in another language needs into TO: the public protos
# (TO/proto), the Python client (TO/clients/python) and the evaluators (TO/evaluators).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
to=$1
mkdir -p "$to/proto/trainerd/v1" "$to/clients/python" "$to/evaluators"
install -m 644 "$root"/proto/trainerd/v1/*.proto "$to/proto/trainerd/v1/"
install -m 644 "$root"/deploy/clients/python/{README.md,trainerd_client.py} "$to/clients/python/"
install -m 755 "$root/deploy/clients/python/pause_on_rise.py" "$to/clients/python/"
install -m 644 "$root/deploy/evaluators/README.md" "$to/evaluators/"
install -D -m 755 -t "$to/evaluators/python" "$root/deploy/evaluators/python/evaluator.py"
install -m 644 "$root/deploy/evaluators/python/requirements.txt" "$to/evaluators/python/"
install -D -m 755 -t "$to/evaluators/shell" "$root/deploy/evaluators/shell/weight_bytes.sh"
