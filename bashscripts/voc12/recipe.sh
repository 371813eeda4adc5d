#!/usr/bin/env bash
# Sourced by the VOC 2012 scripts: paths and settings of the original's recipe, each of which can be set in the
# environment, and the commands of its stages, which skip what is done and go on where they were interrupted.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source bashscripts/environment.sh requirements.txt

DATAROOT="${DATAROOT:-VOC2012/}"          # holds JPEGImages/, segcls/ and sbd/ (VOC2012/README.md)
if [ -z "${LISTS:-}" ]; then                # written by pyscripts/data/prepare_voc12.py, beside the images or here
  LISTS=VOC2012/lists
  [ ! -d "${DATAROOT%/}/lists" ] || LISTS="${DATAROOT%/}/lists"
fi
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/trained/resnet_v1_101.ckpt}"
BATCH_SIZE="${BATCH_SIZE:-8}"
TRAIN_INPUT_SIZE="${TRAIN_INPUT_SIZE:-336,336}"
NUM_STEPS1="${NUM_STEPS1:-30000}" NUM_STEPS2="${NUM_STEPS2:-30000}"
LEARNING_RATE1="${LEARNING_RATE1:-2e-3}" LEARNING_RATE2="${LEARNING_RATE2:-2e-4}"
SAVE_EVERY="${SAVE_EVERY:-2000}"          # the original kept the last step only, and lost all that came before a crash
NUM_GPU="${NUM_GPU:-1}"

# train SCRIPT STAGE LIST STEPS RATE RESTORE [flags]
train() {
  local script="$1" stage="$2" list="$3" steps="$4" rate="$5" restore="$6"; shift 6
  "$PYTHON" "pyscripts/train/$script" \
    --snapshot_dir "$SNAPSHOT_DIR/$stage" --restore_from "$restore" --data_dir "$DATAROOT" --data_list "$list" \
    --batch_size "$BATCH_SIZE" --input_size "$TRAIN_INPUT_SIZE" --num_classes 21 --ignore_label 255 \
    --num_steps "$((steps + 1))" --save_pred_every "$SAVE_EVERY" --update_tb_every 50 \
    --learning_rate "$rate" --weight_decay 5e-4 --momentum 0.9 --power 0.9 \
    --random_mirror --random_scale --random_crop --is_training --num_gpu "$NUM_GPU" "$@"
}

# predict SCRIPT STAGE STEPS OUTPUT [flags]: predictions on val, and their mIoU
predict() {
  local script="$1" stage="$2" steps="$3" output="$SNAPSHOT_DIR/$2/results/$4"; shift 4
  "$PYTHON" "pyscripts/inference/$script" \
    --save_dir "$output" --restore_from "$SNAPSHOT_DIR/$stage/model.ckpt-$steps" \
    --data_dir "$DATAROOT" --data_list "$LISTS/val.txt" --num_classes 21 "$@"
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py \
    --pred_dir "$output/gray/" --data_dir "$DATAROOT" --data_list "$LISTS/val.txt" --num_classes 21 \
    --json "$output/metrics.json"
}
