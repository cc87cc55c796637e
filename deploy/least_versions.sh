# SPDX-License-Identifier: Apache-2.0
# Which Debian packages must be installed, and which are too old. Sourced by install_dependencies.sh.

# plan_packages LEAST_VERSIONS PACKAGE…: reads the output of `LC_ALL=C apt-cache policy PACKAGE…` and
# prints a line for each package that is not ready:
#   install NAME                  not installed, or older than the least version, and apt has a newer one
#   old NAME CANDIDATE LEAST      the newest version that apt has is older than the least version
#   none NAME                     apt does not have it
plan_packages() {
  local least_versions=$1 name installed candidate least
  shift
  local -A installed_of=() candidate_of=() least_of=()
  while read -r name least; do
    case $name in ''|'#'*) ;; *) least_of[$name]=$least ;; esac
  done < "$least_versions"
  while read -r name installed candidate; do
    installed_of[$name]=$installed candidate_of[$name]=$candidate
  done < <(awk '
    /^[^ ].*:$/ { sub(/:$/, ""); sub(/:[a-z0-9]+$/, ""); name = $0; installed = "(none)" }
    $1 == "Installed:" { installed = $2 }
    $1 == "Candidate:" { print name, installed, $2 }')
  for name in "$@"; do
    installed=${installed_of[$name]:-(none)} candidate=${candidate_of[$name]:-(none)}
    least=${least_of[$name]:-}
    if is_at_least "$installed" "$least"; then
      continue
    elif [ "$candidate" = "(none)" ]; then
      echo "none $name"
    elif is_at_least "$candidate" "$least"; then
      echo "install $name"
    else
      echo "old $name $(upstream_version "$candidate") $least"
    fi
  done
}

# A Debian version without its epoch and its revision.
upstream_version() {
  local version=${1#*:}
  echo "${version%-*}"
}

# is_at_least VERSION LEAST: whether a Debian version, or (none), reaches the upstream version LEAST;
# without LEAST every version does.
is_at_least() {
  [ "$1" != "(none)" ] || return 1
  [ -z "$2" ] || dpkg --compare-versions "$(upstream_version "$1")" ge "$2"
}

# explain_plan: reads the lines of plan_packages, and prints those that no installation can change
# as one text: "cmake 3.22.1 (at least 3.25), mold (not available)".
explain_plan() {
  awk '
    $1 == "old" { text = text separator $2 " " $3 " (at least " $4 ")"; separator = ", " }
    $1 == "none" { text = text separator $2 " (not available)"; separator = ", " }
    END { if (text != "") print text }'
}
