#!/usr/bin/env bash
# The table of README.md, "CamVid": SegSort and softmax, single- and multi-scale, two seeds each. Skips what is done;
# the results (small JSON files) go to snapshots/results/camvid, which is in the repository.
set -euo pipefail
here="$(dirname "$0")"
RESULTS="$(cd "$here/../.." && pwd)/snapshots/results/camvid"
mkdir -p "$RESULTS"
OUTPUT_ROOT="${OUTPUT:-snapshots/camvid}"

for seed in ${SEEDS:-1 2}; do
  for method in segsort softmax; do
    if [ ! -f "$RESULTS/$method-seed$seed-single.json" ] || [ ! -f "$RESULTS/$method-seed$seed-multi.json" ]; then
      SEED="$seed" OUTPUT="$OUTPUT_ROOT" bash "$here/train_$method.sh"
      run="$here/../../$OUTPUT_ROOT/$method/seed$seed"
      case "$OUTPUT_ROOT" in /*) run="$OUTPUT_ROOT/$method/seed$seed" ;; esac
      cp "$run/val/metrics.json" "$RESULTS/$method-seed$seed-single.json"
      cp "$run/val_msc/metrics.json" "$RESULTS/$method-seed$seed-multi.json"
    fi
  done
done
cd "$here/../.."
source bashscripts/environment.sh
exec "$PYTHON" pyscripts/benchmark/make_table.py "$RESULTS"
