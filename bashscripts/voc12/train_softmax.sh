#!/usr/bin/env bash
# The baseline on one GPU: network, crops and schedule of train_segsort.sh with softmax cross-entropy. Settings: recipe.sh.
set -euo pipefail
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/softmax}"
source "$(dirname "$0")/recipe.sh"

train train_softmax.py stage1 "$LISTS/train+.txt" "$NUM_STEPS1" "$LEARNING_RATE1" "$RESTORE_FROM"
predict inference.py stage1 "$NUM_STEPS1" val
train train_softmax.py stage2 "$LISTS/train.txt" "$NUM_STEPS2" "$LEARNING_RATE2" \
  "$SNAPSHOT_DIR/stage1/model.ckpt-$NUM_STEPS1"
predict inference.py stage2 "$NUM_STEPS2" val
predict inference_msc.py stage2 "$NUM_STEPS2" val_msc --flip-aug --scale-aug
