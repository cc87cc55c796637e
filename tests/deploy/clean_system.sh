#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tries trainerd on a Debian with nothing installed, in a chroot. Not run by the continuous integration: it takes minutes and a network.
#   tests/deploy/clean_system.sh packages [BUILD_DIR]   apt installs the Debian packages of BUILD_DIR (build/dev) on Debian 12: debian_test.py
#   tests/deploy/clean_system.sh build SUITE            installs the dependencies, builds and runs the unit tests on bookworm or trixie
# The base systems are kept in the cache. Exit code 77: it needs root and mmdebstrap.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
usage() { sed -n '3,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }

case ${1:-} in
  packages)
    build=$(cd "${2:-$root/build/dev}" && pwd)
    "$root/tests/deploy/base_system.sh" "$cache/base-bookworm" bookworm
    TRAINERD_FAKE_WORKER=$build/tests/fake_worker PYTHONPATH=$root/tests/integration PYTHONDONTWRITEBYTECODE=1 \
      exec python3 "$root/tests/deploy/debian_test.py" "$build" "$cache/libtorch-2.11.0/torch/lib" --clean "$cache/base-bookworm"
    ;;
  build)
    suite=${2:-}
    [ -n "$suite" ] || usage
    if [ "${TRAINERD_OWN_MOUNTS:-}" != 1 ]; then
      TRAINERD_OWN_MOUNTS=1 exec unshare -m --propagation private "$0" "$@"
    fi
    ;;
  *) usage ;;
esac

"$root/tests/deploy/base_system.sh" "$cache/base-$suite" "$suite"
# What it downloads and installs stays in these folders for the next time.
layers=$cache/layers-$suite
mkdir -p "$layers/upper" "$layers/work" "$layers/root"
mount -t overlay overlay -o "lowerdir=$cache/base-$suite,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
mount -t proc proc "$layers/root/proc"
mount --rbind /dev "$layers/root/dev"
mount --rbind /sys "$layers/root/sys"
tree=/root/trainerd
mkdir -p "$layers/root$tree"
git -C "$root" ls-files -co --exclude-standard -z | tar -C "$root" --null --files-from=- -cf - | tar -C "$layers/root$tree" -xf -
chroot "$layers/root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -euc "
  cd $tree
  deploy/install_dependencies.sh --tests --model
  cmake --preset dev >/dev/null
  ninja -C build/dev
  cd build/dev && ctest --output-on-failure -j \$(nproc) -L unit"
