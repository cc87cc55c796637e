#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# base_system.sh FOLDER [SUITE]: makes a minimal Debian (default: bookworm) in FOLDER, which reaches the network as this
# machine does. Does nothing if it is there. Exit code 77: needs root and mmdebstrap.
set -euo pipefail
folder=$1 suite=${2:-bookworm}
[ ! -e "$folder/.complete" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "SKIP: a base system needs root"; exit 77; }
command -v mmdebstrap >/dev/null || { echo "SKIP: mmdebstrap is not installed"; exit 77; }
rm -rf "$folder"
mkdir -p "$folder"
mmdebstrap --quiet --variant=minbase --include=ca-certificates "$suite" "$folder" http://deb.debian.org/debian
for file in /etc/apt/apt.conf.d /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf /etc/hosts; do
  [ ! -e $file ] || cp -rLT $file "$folder$file"
done
touch "$folder/.complete"
