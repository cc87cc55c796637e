#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compile_cached.sh CCACHE COMPILER ARGUMENT …: compiles through ccache.
# A precompiled header that is built again is removed first. The compiler would read the old one in
# place of the headers, and ccache, which hashes what the compiler reads, would return the old one.
previous=
for argument; do
  case $previous$argument in
    -o*.gch) rm -f "$argument" ;;
  esac
  previous=$argument
done
exec "$@"
