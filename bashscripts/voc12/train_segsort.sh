#!/usr/bin/env bash
# The original's recipe on one GPU: stage 1 on train+ (10,582 images), stage 2 on train (1,464), prototypes and
# single-scale inference after each, multi-scale inference at the end. Settings: recipe.sh.
set -euo pipefail
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/segsort}"
TRAIN_SCRIPT="${TRAIN_SCRIPT:-train_segsort.py}"
K_IN_NEAREST_NEIGHBORS="${K_IN_NEAREST_NEIGHBORS:-15}"
source "$(dirname "$0")/recipe.sh"
SEGMENTS=(--embedding_dim 32 --num_clusters 5 --kmeans_iterations 10)
LOSS=(--concentration 10 --num_banks 2)

# prototypes STAGE LIST STEPS
prototypes() {
  "$PYTHON" pyscripts/inference/extract_prototypes.py \
    --save_dir "$SNAPSHOT_DIR/$1/results" --restore_from "$SNAPSHOT_DIR/$1/model.ckpt-$3" \
    --data_dir "$DATAROOT" --data_list "$2" --num_classes 21 --ignore_label 255 "${SEGMENTS[@]}"
}
# vote SCRIPT STAGE STEPS OUTPUT [flags]
vote() {
  predict "$@" --prototype_dir "$SNAPSHOT_DIR/$2/results/prototypes" \
    --k_in_nearest_neighbors "$K_IN_NEAREST_NEIGHBORS" "${SEGMENTS[@]}"
}

train "$TRAIN_SCRIPT" stage1 "$LISTS/train+.txt" "$NUM_STEPS1" "$LEARNING_RATE1" "$RESTORE_FROM" \
  "${SEGMENTS[@]}" "${LOSS[@]}"
prototypes stage1 "$LISTS/train+.txt" "$NUM_STEPS1"
vote inference_segsort.py stage1 "$NUM_STEPS1" val
# Deviates from the original, which on one GPU, and only there, leaves the head behind (--not_restore_classifier).
train "$TRAIN_SCRIPT" stage2 "$LISTS/train.txt" "$NUM_STEPS2" "$LEARNING_RATE2" \
  "$SNAPSHOT_DIR/stage1/model.ckpt-$NUM_STEPS1" "${SEGMENTS[@]}" "${LOSS[@]}"
prototypes stage2 "$LISTS/train.txt" "$NUM_STEPS2"
vote inference_segsort.py stage2 "$NUM_STEPS2" val
vote inference_segsort_msc.py stage2 "$NUM_STEPS2" val_msc --flip_aug --scale_aug
