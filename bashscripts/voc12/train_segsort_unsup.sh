#!/usr/bin/env bash
# The original's unsupervised recipe on one GPU: 10,000 steps on the oversegmentations of train+, no label read; then
# prototypes of the labelled train+ list and multi-scale inference, which is how it is evaluated. Settings: recipe.sh.
set -euo pipefail
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/segsort_unsup}"
NUM_STEPS1="${NUM_STEPS1:-10000}"
K_IN_NEAREST_NEIGHBORS="${K_IN_NEAREST_NEIGHBORS:-15}"
source "$(dirname "$0")/recipe.sh"
OVERSEGMENTATION_DIR="${OVERSEGMENTATION_DIR:-$DATAROOT/hed}"  # <id>.png of region ids
SEGMENTS=(--embedding_dim 32 --num_clusters 5 --kmeans_iterations 10)

train train_segsort_unsup.py stage1 "$LISTS/train+.txt" "$NUM_STEPS1" "$LEARNING_RATE1" "$RESTORE_FROM" \
  --oversegmentation_dir "$OVERSEGMENTATION_DIR" --embedding_dim 32 --concentration 10
"$PYTHON" pyscripts/inference/extract_prototypes.py \
  --save_dir "$SNAPSHOT_DIR/stage1/results" --restore_from "$SNAPSHOT_DIR/stage1/model.ckpt-$NUM_STEPS1" \
  --data_dir "$DATAROOT" --data_list "$LISTS/train+.txt" --num_classes 21 --ignore_label 255 "${SEGMENTS[@]}"
predict inference_segsort_msc.py stage1 "$NUM_STEPS1" val_msc --flip_aug --scale_aug "${SEGMENTS[@]}" \
  --prototype_dir "$SNAPSHOT_DIR/stage1/results/prototypes" --k_in_nearest_neighbors "$K_IN_NEAREST_NEIGHBORS"
