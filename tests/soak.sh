#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Soaks the daemon: 20 clients with random commands and sizes, 5 readers that have stopped, kills of every process and a
# full disk for 10 s. Prints RSS, descriptors and threads of the daemon after the warm-up and at the end; they may differ by 5 %;
# if they differ by more, the clients continue, up to twice, and the comparison is repeated.
#   tests/soak.sh [--seconds N] [--seed N]     default: 1800 s, a random seed, which is printed
# TRAINERD_BIN_DIR names the programs (default: build/dev/bin). Exit code 77: this machine has no grpcio-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
python=$cache/venv-tests/bin/python3
if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
  echo "SKIP: $python has no grpcio-tools; run deploy/install_dependencies.sh --tests"
  exit 77
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/integration
exec "$python" tests/soak/soak.py "$@"
