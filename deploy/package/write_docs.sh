#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# write_docs.sh TRAINCTL TO: writes the man pages and the completions of bash, zsh and fish, which
# the program TRAINCTL makes out of its commands, below TO (PREFIX/share).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
trainctl=$1 to=$2
mkdir -p "$to"/man/man{1,5,8} "$to/bash-completion/completions" "$to/fish/vendor_completions.d"
"$trainctl" __man trainctl.1 | gzip -9n > "$to/man/man1/trainctl.1.gz"
"$trainctl" __man trainerd.yaml.5 | gzip -9n > "$to/man/man5/trainerd.yaml.5.gz"
gzip -9nc "$root/deploy/man/trainerd.8" > "$to/man/man8/trainerd.8.gz"
"$trainctl" completion bash > "$to/bash-completion/completions/trainctl"
"$trainctl" completion fish > "$to/fish/vendor_completions.d/trainctl.fish"
# Where Debian's zsh looks for those of packages, and where every zsh looks for those of a prefix.
case $to in
  */usr/share) functions=$to/zsh/vendor-completions ;;
  *) functions=$to/zsh/site-functions ;;
esac
mkdir -p "$functions"
"$trainctl" completion zsh > "$functions/_trainctl"
