#!/usr/bin/env bash
# What oversegmentations do for the borders of segments: the SegSort of train_segsort.sh on CamVid val, its clusters from
# the grid or from the regions, split along the regions' borders (--align_segments) or not, beside softmax. Scores near
# true boundaries, as in README.md, "CamVid". Skips what is done; RESULTS is where the JSON files go, in the repository by
# default: with other settings name another folder.
set -euo pipefail
RESULTS="${RESULTS:-}"
if [ -z "$RESULTS" ]; then
  for name in NUM_STEPS BATCH_SIZE INPUT_SIZE LEARNING_RATE MODEL NUM_CLUSTERS K_IN_NEAREST_NEIGHBORS; do
    [ -z "${!name:-}" ] || { echo "boundary.sh: $name is set: name another folder for its results, RESULTS=..." >&2; exit 2; }
  done
fi
case "$RESULTS" in ''|/*) ;; *) RESULTS="$PWD/$RESULTS" ;; esac
source "$(dirname "$0")/recipe.sh"
source bashscripts/environment.sh requirements-oversegmentation.txt

RESULTS="${RESULTS:-snapshots/results/camvid/boundary}"
REGIONS="$OUTPUT/regions"
NUM_CLUSTERS="${NUM_CLUSTERS:-20}"
mkdir -p "$RESULTS"

prepare
for split in train val; do
  "$PYTHON" pyscripts/data/make_oversegmentation.py --images "$HALF/$split.txt" --data_dir "$HALF" --contours gradient \
    --output "$REGIONS"
done

# near_boundaries NAME PREDICTIONS
near_boundaries() {
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir "$2/gray/" --data_dir "$HALF" --boundary \
    --data_list "$HALF/val.txt" --dataset camvid --num_classes 11 --json "$RESULTS/$1-seed$SEED.json"
}

# segments NAME [flags]
segments() {
  local name="$1" directory="$OUTPUT/segsort/seed$SEED/boundary/$1"; shift
  local common=(--data_dir "$HALF" --dataset camvid --num_classes 11 --num_clusters "$NUM_CLUSTERS" "$@"
    --restore_from "$OUTPUT/segsort/seed$SEED/model.ckpt-$((NUM_STEPS - 1))")
  "$PYTHON" pyscripts/inference/extract_prototypes.py "${common[@]}" --data_list "$HALF/train.txt" --save_dir "$directory"
  "$PYTHON" pyscripts/inference/inference_segsort.py "${common[@]}" --data_list "$HALF/val.txt" --save_dir "$directory/val" \
    --prototype_dir "$directory/prototypes" --k_in_nearest_neighbors "${K_IN_NEAREST_NEIGHBORS:-15}"
  near_boundaries "$name" "$directory/val"
}

train train_segsort.py "$OUTPUT/segsort/seed$SEED"
segments grid
segments grid_aligned --align_segments --oversegmentation_dir "$REGIONS"
segments regions --initial_segments oversegmentation --oversegmentation_dir "$REGIONS"
segments regions_aligned --initial_segments oversegmentation --align_segments --oversegmentation_dir "$REGIONS"
[ ! -d "$OUTPUT/softmax/seed$SEED/val" ] || near_boundaries softmax "$OUTPUT/softmax/seed$SEED/val"
"$PYTHON" pyscripts/benchmark/make_table.py --boundary $(cd "$RESULTS" && for file in *-seed*.json; do
  echo "${file%-seed*}=$RESULTS/$file"; done)
