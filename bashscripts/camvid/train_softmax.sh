#!/usr/bin/env bash
# The softmax baseline on CamVid: training, single- and multi-scale inference on val, mIoU. Skips what is done.
set -euo pipefail
source "$(dirname "$0")/recipe.sh"

RUN="$OUTPUT/softmax/seed$SEED"
CKPT="$RUN/model.ckpt-$((NUM_STEPS - 1))"

prepare
train train_softmax.py "$RUN"
infer() {
  local script="$1" output="$2"; shift 2
  "$PYTHON" "pyscripts/inference/$script" --data_dir "$HALF" --data_list "$HALF/val.txt" --dataset camvid \
    --num_classes 11 --restore_from "$CKPT" --save_dir "$output" "$@"
  score "$output"
}
infer inference.py "$RUN/val"
infer inference_msc.py "$RUN/val_msc" --flip-aug --scale-aug
