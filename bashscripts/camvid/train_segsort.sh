#!/usr/bin/env bash
# SegSort on CamVid: training, prototypes of train, single- and multi-scale inference on val, mIoU. Skips what is done.
set -euo pipefail
source "$(dirname "$0")/recipe.sh"

RUN="$OUTPUT/segsort/seed$SEED"
CKPT="$RUN/model.ckpt-$((NUM_STEPS - 1))"
NUM_CLUSTERS="${NUM_CLUSTERS:-20}"
K="${K_IN_NEAREST_NEIGHBORS:-15}"
COMMON=(--data_dir "$HALF" --dataset camvid --num_classes 11 --restore_from "$CKPT" --num_clusters "$NUM_CLUSTERS")

prepare
train train_segsort.py "$RUN"
"$PYTHON" pyscripts/inference/extract_prototypes.py "${COMMON[@]}" --data_list "$HALF/train.txt" --save_dir "$RUN"
infer() {
  local script="$1" output="$2"; shift 2
  "$PYTHON" "pyscripts/inference/$script" "${COMMON[@]}" --data_list "$HALF/val.txt" --save_dir "$output" \
    --prototype_dir "$RUN/prototypes" --k_in_nearest_neighbors "$K" "$@"
  score "$output"
}
infer inference_segsort.py "$RUN/val"
infer inference_segsort_msc.py "$RUN/val_msc" --flip_aug --scale_aug
