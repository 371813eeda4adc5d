#!/usr/bin/env bash
# Runs ruff and the tests: all but the slow ones, or every one of them with --all. Other arguments go to pytest.
#   bash bashscripts/test.sh [--all] [pytest arguments]
# Tests run in a process a core, four at most (each takes up to 4 GB); -n 0 runs them in one.
set -euo pipefail
cd "$(dirname "$0")/.."
source bashscripts/environment.sh requirements-dev.txt

select=(-m "not slow")
arguments=()
for argument in "$@"; do
  if [ "$argument" = --all ]; then select=(); else arguments+=("$argument"); fi
done
# With a process a core, a second thread of each would only wait for the other's.
export TF_NUM_INTRAOP_THREADS="${TF_NUM_INTRAOP_THREADS:-1}"
export SEGSORT_SHARED="${SEGSORT_SHARED:-../shared}"
"$PYTHON" -m ruff check .
exec "$PYTHON" -m pytest -n auto --maxprocesses 4 --dist worksteal ${select[@]+"${select[@]}"} ${arguments[@]+"${arguments[@]}"}
