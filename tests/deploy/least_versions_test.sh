#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests how install_dependencies.sh decides from the output of apt-cache policy (deploy/least_versions.sh).
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/deploy/least_versions.sh"
command -v dpkg >/dev/null || { echo "SKIP: there is no dpkg to compare versions"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# policy NAME INSTALLED CANDIDATE: what apt-cache policy prints for one package.
policy() { printf '%s:\n  Installed: %s\n  Candidate: %s\n  Version table:\n     %s 500\n        500 http://deb.example.org/debian stable/main amd64 Packages\n' "$1" "$2" "$3" "$3"; }
expect() { # WHAT EXPECTED GOT
  [ "$2" = "$3" ] || { printf 'FAIL: %s: expected\n%s\ngot\n%s\n' "$1" "$2" "$3"; failed=1; }
}
cat > "$work/least" <<'END'
# comment
g++ 12
cmake 3.25
libabsl-dev 20220623
libspdlog-dev 1.10
END
plan() { plan_packages "$work/least" "$@"; }
one() { policy "$2" "$3" "$4" | plan "$2"; } # WHAT NAME INSTALLED CANDIDATE

# ---------------------------------------------------------------- one package
none='(none)'
expect "installed and new enough" "" "$(one - g++ 4:12.2.0-3 4:12.2.0-3)"
expect "installed and newer" "" "$(one - g++ 4:13.2.0-7ubuntu1 4:13.2.0-7ubuntu1)"
expect "exactly the least version" "" "$(one - cmake 3.25-1 3.25-1)"
expect "not installed" "install g++" "$(one - g++ "$none" 4:12.2.0-3)"
expect "too old to install" "old cmake 3.22.1 3.25" "$(one - cmake "$none" 3.22.1-1ubuntu1.22.04.2)"
expect "installed, too old, nothing newer" "old cmake 3.18.4 3.25" "$(one - cmake 3.18.4-2 3.18.4-2+deb11u1)"
expect "installed, too old, apt has a newer one" "install cmake" "$(one - cmake 3.18.4-2 3.25.1-1~bpo11+1)"
expect "a candidate of a release candidate is older" "old cmake 3.25~rc1 3.25" "$(one - cmake "$none" 3.25~rc1-1)"
expect "numbers, not characters" "install libspdlog-dev" "$(one - libspdlog-dev "$none" 1:1.12.0+ds-2)"
expect "1.9 is older than 1.10" "old libspdlog-dev 1.9.2+ds 1.10" "$(one - libspdlog-dev "$none" 1:1.9.2+ds-0.2)"
expect "an epoch does not count" "old g++ 9.3.0 12" "$(one - g++ "$none" 4:9.3.0-1ubuntu2)"
expect "a date as version" "old libabsl-dev 0~20210324.2 20220623" "$(one - libabsl-dev "$none" 0~20210324.2-2)"
expect "without revision" "install cmake" "$(one - cmake "$none" 3.30.1)"
expect "no least version" "install lld" "$(one - lld "$none" 0.1-1)"
expect "installed, no least version" "" "$(one - lld 0.1-1 0.1-1)"
expect "no candidate" "none lld" "$(one - lld "$none" "$none")"
for state in unpacked half-configured half-installed; do
  expect "$state" "repair g++" "$({ policy g++ 4:12.2.0-3 4:12.2.0-3; echo "State: g++ $state"; } | plan g++)"
done
for state in installed triggers-pending; do
  expect "$state" "" "$({ policy g++ 4:12.2.0-3 4:12.2.0-3; echo "State: g++ $state"; } | plan g++)"
done
expect "removed, but not its settings" "install g++" "$({ policy g++ "$none" 4:12.2.0-3; echo "State: g++ config-files"; } | plan g++)"
expect "of another architecture" "install g++" "$(policy g++:amd64 "$none" 4:12.2.0-3 | plan g++)"
expect "unknown to apt" "none cmake" "$(plan cmake </dev/null)"

# ---------------------------------------------------------------- all in one message
got=$({ policy g++ "$none" 4:11.2.0-1; policy lld "$none" "$none"; policy cmake "$none" 3.22.1-1
  policy libspdlog-dev "$none" 1:1.12.0+ds-2; } | plan g++ lld cmake libspdlog-dev libabsl-dev)
expect "several" "old g++ 11.2.0 12
none lld
old cmake 3.22.1 3.25
install libspdlog-dev
none libabsl-dev" "$got"
expect "one message" \
  "g++ 11.2.0 (at least 12), lld (not available), cmake 3.22.1 (at least 3.25), libabsl-dev (not available)" \
  "$(explain_plan <<<"$got")"
expect "nothing to explain" "" "$(echo "install g++" | explain_plan)"

# ---------------------------------------------------------------- the real table
least=$root/deploy/requirements/least_versions.txt
for name in $(sed 's/#.*//; s/ .*//' "$least"); do
  grep -qE "[( ]${name//+/\\+}[ )]" "$root/deploy/install_dependencies.sh" ||
    grep -qE "^ *${name//+/\\+} |[( ]${name//+/\\+}\$" "$root/deploy/install_dependencies.sh" ||
    { echo "FAIL: $least has $name, which install_dependencies.sh does not install"; failed=1; }
done
# Debian 12, Debian 13 and Ubuntu 24.04 reach it, Ubuntu 22.04 does not.
reaches() { # SYSTEM EXPECTED NAME=VERSION…
  local system=$1 expected=$2 names=() text="" pair
  shift 2
  for pair; do names+=("${pair%%=*}"); text+=$(policy "${pair%%=*}" "$none" "${pair#*=}")$'\n'; done
  expect "$system" "$expected" "$(plan_packages "$least" "${names[@]}" <<<"$text" | explain_plan)"
}
reaches "Debian 12" "" g++=4:12.2.0-3 cmake=3.25.1-1 libgrpc++-dev=1.51.1-3+b1 libprotobuf-dev=3.21.12-3 \
  libabsl-dev=20220623.1-1+deb12u2 libspdlog-dev=1:1.10.0+ds-0.4 libyaml-cpp-dev=0.7.0+dfsg-8+b1 \
  libsimdjson-dev=3.0.1-1 nlohmann-json3-dev=3.11.2-2 libsqlite3-dev=3.40.1-2+deb12u2 libcli11-dev=2.1.2+ds-1 python3=3.11.2-1+b1
reaches "Debian 13" "" g++=4:14.2.0-1 cmake=3.31.6-2 libgrpc++-dev=1.51.1-6 libprotobuf-dev=3.21.12-11 \
  libabsl-dev=20240722.0-4 libspdlog-dev=1:1.15.2+ds-3 libyaml-cpp-dev=0.8.0+dfsg-7 libsimdjson-dev=3.12.3-1 \
  nlohmann-json3-dev=3.11.3-2 libsqlite3-dev=3.46.1-7 libcli11-dev=2.4.2+ds-2 python3=3.13.5-1
reaches "Ubuntu 24.04" "" g++=4:13.2.0-7ubuntu1 cmake=3.28.3-1build7 libgrpc++-dev=1.51.1-4.1build5 \
  libprotobuf-dev=3.21.12-8.2ubuntu0.2 libabsl-dev=20220623.1-3.1ubuntu3 libspdlog-dev=1:1.12.0+ds-2build1 \
  libyaml-cpp-dev=0.8.0+dfsg-6build1 libsqlite3-dev=3.45.1-1ubuntu2.5 python3=3.12.3-0ubuntu2
reaches "Ubuntu 22.04" "g++ 11.2.0 (at least 12), cmake 3.22.1 (at least 3.25), libgrpc++-dev 1.30.2 (at least 1.51)" \
  g++=4:11.2.0-1ubuntu1 cmake=3.22.1-1ubuntu1.22.04.2 libgrpc++-dev=1.30.2-3build6
# ---------------------------------------------------------------- the script itself
mkdir "$work/bin"
cat > "$work/bin/apt-cache" <<'END'
#!/bin/bash
for name in "${@:2}"; do
  case $name in
    cmake) version=3.22.1-1 ;;
    librapidcheck-dev) version='(none)' ;;
    *) version=99:20990101.0-1 ;;
  esac
  printf '%s:\n  Installed: (none)\n  Candidate: %s\n' "$name" "$version"
done
END
printf '#!/bin/sh\necho "$@" >> "%s/apt"\n' "$work" > "$work/bin/apt-get"
printf '#!/bin/sh\necho 0\n' > "$work/bin/id"
chmod +x "$work"/bin/*
got=$(PATH="$work/bin:$PATH" TRAINERD_CACHE="$work/cache" "$root/deploy/install_dependencies.sh" --no-engine 2>&1)
expect "exit code of the script" 1 $?
for text in "cmake 3.22.1 (at least 3.25), librapidcheck-dev (not available)" "portable package" "container"; do
  [[ $got == *"$text"* ]] || { echo "FAIL: install_dependencies.sh printed $got, without $text"; failed=1; }
done
expect "calls of apt-get" "update -q" "$(cat "$work/apt")"
[ $failed = 0 ] && echo "the versions decide"
exit $failed
