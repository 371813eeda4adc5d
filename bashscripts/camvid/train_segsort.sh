#!/usr/bin/env bash
# SegSort on CamVid: training, prototypes of train, single- and multi-scale inference on val, mIoU. Skips what is done.
set -euo pipefail
source "$(dirname "$0")/recipe.sh"

RUN="$OUTPUT/segsort/seed$SEED"
CKPT="$RUN/model.ckpt-$((NUM_STEPS - 1))"
# Clusters along each axis of the image. Twelve scaled and mirrored views make do with coarser segments than one view,
# and take minutes instead of hours with them.
NUM_CLUSTERS="${NUM_CLUSTERS:-20}"
MSC_NUM_CLUSTERS="${MSC_NUM_CLUSTERS:-12}"
K="${K_IN_NEAREST_NEIGHBORS:-15}"
COMMON=(--data_dir "$HALF" --dataset camvid --num_classes 11 --restore_from "$CKPT")

prepare
train train_segsort.py "$RUN"
# infer SCRIPT CLUSTERS OUTPUT [flags]: with a bank of equally fine segments
infer() {
  local script="$1" clusters="$2" output="$3"; shift 3
  "$PYTHON" pyscripts/inference/extract_prototypes.py "${COMMON[@]}" --data_list "$HALF/train.txt" \
    --num_clusters "$clusters" --save_dir "$RUN/bank$clusters"
  "$PYTHON" "pyscripts/inference/$script" "${COMMON[@]}" --data_list "$HALF/val.txt" --save_dir "$output" \
    --num_clusters "$clusters" --prototype_dir "$RUN/bank$clusters/prototypes" --k_in_nearest_neighbors "$K" "$@"
  score "$output"
}
infer inference_segsort.py "$NUM_CLUSTERS" "$RUN/val"
infer inference_segsort_msc.py "$MSC_NUM_CLUSTERS" "$RUN/val_msc" --flip_aug --scale_aug
