#!/usr/bin/env bash
# The baseline on one GPU: the network, crops and schedule of train_segsort.sh with softmax cross-entropy.
set -euo pipefail
cd "$(dirname "$0")/../.."
source bashscripts/environment.sh

DATAROOT="${DATAROOT:-VOC2012/}"
LISTS="${LISTS:-VOC2012/lists}"
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/softmax}"
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/trained/resnet_v1_101.ckpt}"
BATCH_SIZE="${BATCH_SIZE:-8}"
TRAIN_INPUT_SIZE="${TRAIN_INPUT_SIZE:-336,336}"
NUM_STEPS1="${NUM_STEPS1:-30000}" NUM_STEPS2="${NUM_STEPS2:-30000}"
LEARNING_RATE1="${LEARNING_RATE1:-2e-3}" LEARNING_RATE2="${LEARNING_RATE2:-2e-4}"
NUM_GPU="${NUM_GPU:-1}"

# train STAGE LIST STEPS RATE RESTORE
train() {
  "$PYTHON" pyscripts/train/train_softmax.py \
    --snapshot_dir "$SNAPSHOT_DIR/$1" --restore_from "$5" --data_dir "$DATAROOT" --data_list "$2" \
    --batch_size "$BATCH_SIZE" --input_size "$TRAIN_INPUT_SIZE" --num_classes 21 --ignore_label 255 \
    --num_steps "$(($3 + 1))" --save_pred_every "$3" --update_tb_every 50 \
    --learning_rate "$4" --weight_decay 5e-4 --momentum 0.9 --power 0.9 \
    --random_mirror --random_scale --random_crop --is_training --num_gpu "$NUM_GPU"
}

# infer STAGE STEPS SCRIPT OUTPUT [flags]
infer() {
  local stage="$1" steps="$2" script="$3" output="$4"; shift 4
  "$PYTHON" "pyscripts/inference/$script" \
    --save-dir "$SNAPSHOT_DIR/$stage/results/$output" --restore-from "$SNAPSHOT_DIR/$stage/model.ckpt-$steps" \
    --data-dir "$DATAROOT" --data-list "$LISTS/val.txt" --num-classes 21 "$@"
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py \
    --pred_dir "$SNAPSHOT_DIR/$stage/results/$output/gray/" --data_dir "$DATAROOT" --data_list "$LISTS/val.txt" \
    --num_classes 21 --json "$SNAPSHOT_DIR/$stage/results/$output/metrics.json"
}

train stage1 "$LISTS/train+.txt" "$NUM_STEPS1" "$LEARNING_RATE1" "$RESTORE_FROM"
infer stage1 "$NUM_STEPS1" inference.py val
train stage2 "$LISTS/train.txt" "$NUM_STEPS2" "$LEARNING_RATE2" "$SNAPSHOT_DIR/stage1/model.ckpt-$NUM_STEPS1"
infer stage2 "$NUM_STEPS2" inference.py val
infer stage2 "$NUM_STEPS2" inference_msc.py val_msc --flip-aug --scale-aug
