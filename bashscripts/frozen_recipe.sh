#!/usr/bin/env bash
# Sourced by {coco_stuff,cityscapes,potsdam}/train_{stego,smooseg}.sh, which set what is of their data: features and
# neighbours of a frozen trunk, training on them without labels, prediction and scores on val. What is done is skipped.
#
#   DATA_DIR         folder that the paths of the lists are relative to; TRAIN_LIST, VAL_LIST: lines `image mask`
#   PRESET           settings of a published run (pyscripts/train/train_$METHOD.py --help)
#   BACKBONE         the trunk, default the preset's; RESTORE_FROM: its weights, default by BACKBONE
#   SEED, NUM_STEPS  default: the preset's
#   CRF=1            scores with the dense CRF too, seconds an image
# The masks of TRAIN_LIST train the linear probe alone; LABELS=0 leaves them out.
# We have not run these scripts, for want of the data and of the trunks' weights.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source bashscripts/environment.sh requirements.txt

TRAIN_LIST="${TRAIN_LIST:-$DATA_DIR/train.txt}" VAL_LIST="${VAL_LIST:-$DATA_DIR/val.txt}"
PRESET="${PRESET:-$DEFAULT_PRESET}" BACKBONE="${BACKBONE:-$DEFAULT_BACKBONE}"
OPTIONS=(--backbone "$BACKBONE")
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/$METHOD/$PRESET-$BACKBONE/seed${SEED:-_preset}}"
[ -z "${SEED:-}" ] || OPTIONS+=(--seed "$SEED")
[ -z "${NUM_STEPS:-}" ] || OPTIONS+=(--num_steps "$NUM_STEPS")
[ "${LABELS:-1}" = 1 ] || OPTIONS+=(--no-labels)

case "$BACKBONE" in  # the public files' own names
  dino_vits8) WEIGHTS=dino_deitsmall8_300ep_pretrain.pth ;;
  dino_vits16) WEIGHTS=dino_deitsmall16_pretrain.pth ;;
  dino_vitb8) WEIGHTS=dino_vitbase8_pretrain.pth ;;
  dino_vitb16) WEIGHTS=dino_vitbase16_pretrain.pth ;;
  dinov2_*) WEIGHTS="${BACKBONE}_pretrain.pth" ;;
  *) WEIGHTS="$BACKBONE.weights.h5" ;;
esac
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/$WEIGHTS}"
case "$RESTORE_FROM" in
  *.pth)  # is read once, as tensors alone
    CONVERTED="${RESTORE_FROM%.pth}.safetensors"
    [ -f "$CONVERTED" ] || "$PYTHON" pyscripts/data/convert_weights.py "$RESTORE_FROM" "$CONVERTED"
    RESTORE_FROM="$CONVERTED" ;;
esac

"$PYTHON" "pyscripts/train/train_$METHOD.py" --preset "$PRESET" --data_dir "$DATA_DIR" --data_list "$TRAIN_LIST" \
  --restore_from "$RESTORE_FROM" --snapshot_dir "$SNAPSHOT_DIR" "${OPTIONS[@]}"
# The publications' protocol: the middle square at 320 pixels.
"$PYTHON" pyscripts/inference/inference_clusters.py --restore_from "$SNAPSHOT_DIR" --data_dir "$DATA_DIR" \
  --data_list "$VAL_LIST" --size 320 --middle centre --save_dir "$SNAPSHOT_DIR/val"
[ "${CRF:-0}" = 0 ] || "$PYTHON" pyscripts/inference/inference_clusters.py --restore_from "$SNAPSHOT_DIR" \
  --data_dir "$DATA_DIR" --data_list "$VAL_LIST" --size 320 --middle centre --crf --save_dir "$SNAPSHOT_DIR/val_crf"
