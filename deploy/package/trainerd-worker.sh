#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# trainerd-worker of the portable package and of an installation: looks for LibTorch and becomes the real program (same process, same descriptors).
package=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$package/libexec/torch_env.sh" || exit 1
trainerd_torch_env || exit 1
exec "$package/libexec/trainerd-worker" "$@"
