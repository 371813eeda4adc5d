#!/usr/bin/env bash
# Sourced by the scripts that make tables of many runs: where the runs are, OUTPUT, and their results, RESULTS.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export OUTPUT="${OUTPUT:-$root/snapshots/camvid}"

# results FOLDER SETTING...: makes RESULTS, by default FOLDER in snapshots/results, which is in the repository and holds
# no results of other settings than the scripts' own.
results() {
  local committed="$root/snapshots/results/$1" name; shift
  RESULTS="${RESULTS:-$committed}"
  case "$RESULTS" in /*) ;; *) RESULTS="$PWD/$RESULTS" ;; esac  # the table is made from the root
  if [ "$RESULTS" = "$committed" ]; then
    for name in "$@"; do
      [ -z "${!name:-}" ] || { echo "${0##*/}: $name is set: name another folder for its results, RESULTS=..." >&2; exit 2; }
    done
  fi
  mkdir -p "$RESULTS"
}

# show_table [flags of make_table.py]
show_table() {
  cd "$root"
  source bashscripts/environment.sh requirements.txt
  exec "$PYTHON" pyscripts/benchmark/make_table.py "$@"
}
