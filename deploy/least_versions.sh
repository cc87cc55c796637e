# SPDX-License-Identifier: Apache-2.0
# Which Debian packages must be installed, and which are too old. Sourced by install_dependencies.sh.

# package_versions PACKAGE…: what apt and dpkg know of the packages, for plan_packages.
package_versions() {
  LC_ALL=C apt-cache policy "$@" 2>/dev/null
  # A package whose installation was interrupted has a version too, but not the state "installed".
  dpkg-query -W -f='State: ${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true
}

# plan_packages LEAST_VERSIONS PACKAGE…: reads the output of package_versions and prints a line for
# each package that is not ready:
#   install NAME                  not installed, or older than the least version, and apt has a newer one
#   repair NAME                   unpacked or configured only in part
#   old NAME CANDIDATE LEAST      the newest version that apt has is older than the least version
#   none NAME                     apt does not have it
plan_packages() {
  local least_versions=$1 name installed candidate state least
  shift
  local -A installed_of=() candidate_of=() least_of=() state_of=()
  while read -r name least; do
    case $name in ''|'#'*) ;; *) least_of[$name]=$least ;; esac
  done < "$least_versions"
  while read -r name installed candidate state; do
    installed_of[$name]=$installed candidate_of[$name]=$candidate state_of[$name]=$state
  done < <(awk '
    $1 == "State:" { state[$2] = $3; next }
    /^[^ ].*:$/ { sub(/:$/, ""); sub(/:[a-z0-9]+$/, ""); name = $0; installed = "(none)" }
    $1 == "Installed:" { installed = $2 }
    $1 == "Candidate:" { versions[name] = installed " " $2 }
    END { for (name in versions) print name, versions[name], state[name] }')
  for name in "$@"; do
    installed=${installed_of[$name]:-(none)} candidate=${candidate_of[$name]:-(none)}
    least=${least_of[$name]:-}
    case ${state_of[$name]:-} in
      half-installed | unpacked | half-configured) echo "repair $name"; continue ;;
    esac
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
# as one text: "cmake 3.22.1 (at least 3.25), lld (not available)".
explain_plan() {
  awk '
    $1 == "old" { text = text separator $2 " " $3 " (at least " $4 ")"; separator = ", " }
    $1 == "none" { text = text separator $2 " (not available)"; separator = ", " }
    END { if (text != "") print text }'
}
