#!/usr/bin/env bash
# Sourced by the CamVid scripts: MobileNetV2 with ImageNet weights on half-size CamVid (240x180), the same network,
# head, crops, batch, steps and learning rate for every method.
#
#   DATA_DIR   folder of CamVid in the VOC layout: JPEGImages/, segcls/, train.txt, val.txt (README, "CamVid")
#   BACKBONE   Keras' own ImageNet file of MobileNetV2 without top (README, "CamVid")
# Paths are relative to where the script was called.
absolute() { case "$1" in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }
: "${DATA_DIR:?set DATA_DIR to the folder of CamVid in the VOC layout (README.md, \"CamVid\")}"
: "${BACKBONE:?set BACKBONE to the ImageNet weights of MobileNetV2 without top (README.md, \"CamVid\")}"
DATA_DIR="$(absolute "$DATA_DIR")" BACKBONE="$(absolute "$BACKBONE")"
[ -z "${OUTPUT:-}" ] || OUTPUT="$(absolute "$OUTPUT")"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source bashscripts/environment.sh requirements.txt

SEED="${SEED:-1234}"
NUM_STEPS="${NUM_STEPS:-1200}"
BATCH_SIZE="${BATCH_SIZE:-8}"
INPUT_SIZE="${INPUT_SIZE:-160,160}"
LEARNING_RATE="${LEARNING_RATE:-0.03}"
MODEL="${MODEL:-pspnet_mobilenet_v2}"
OUTPUT="${OUTPUT:-snapshots/camvid}"
HALF="$OUTPUT/data"

# Half-size copies of images and masks, made once.
prepare() {
  for split in train val; do
    "$PYTHON" pyscripts/data/resize_dataset.py --data_dir "$DATA_DIR" --data_list "$DATA_DIR/$split.txt" \
      --dataset camvid --scale 0.5 --output_dir "$HALF"
  done
}

# train SCRIPT DIRECTORY [flags]
train() {
  local script="$1" directory="$2"; shift 2
  "$PYTHON" "pyscripts/train/$script" --snapshot_dir "$directory" --restore_from "$BACKBONE" \
    --data_dir "$HALF" --data_list "$HALF/train.txt" --dataset camvid --num_classes 11 --cache \
    --model "$MODEL" --batch_size "$BATCH_SIZE" --input_size "$INPUT_SIZE" --num_steps "$NUM_STEPS" \
    --learning_rate "$LEARNING_RATE" --batch_norm_decay 0.99 --random_mirror --random_scale --random_crop --seed "$SEED" "$@"
}

# score DIRECTORY [flags]: the table of one folder of predictions
score() {
  local directory="$1"; shift
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir "$directory/gray/" --data_dir "$HALF" \
    --data_list "$HALF/val.txt" --dataset camvid --num_classes 11 --json "$directory/metrics.json" "$@"
}
