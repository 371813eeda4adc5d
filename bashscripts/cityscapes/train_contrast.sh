#!/usr/bin/env bash
# Pixel contrast on Cityscapes: 40000 steps of 8 crops of 1024x512. Variables and what is run: ../contrast_recipe.sh.
# Lists hold lines `leftImg8bit/train/aachen/x_leftImg8bit.png gtFine/train/aachen/x_gtFine_labelIds.png`;
# --dataset cityscapes maps the raw label ids to the 19 classes.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder with leftImg8bit/ and gtFine/}"
DATASET=cityscapes DEFAULT_STEPS=40000 DEFAULT_BATCH=8
DEFAULT_WEIGHT=0.1 DEFAULT_TEMPERATURE=0.1 DEFAULT_VIEWS=100
if [ "${MEMORY:-none}" != none ]; then  # the original's settings with a memory: one easy anchor of a class in an image
  DEFAULT_WEIGHT=1 DEFAULT_TEMPERATURE=0.07 DEFAULT_VIEWS=1
fi
TRAINING=(
  --input_size 512,1024 --learning_rate 0.01 --weight_decay 5e-4
  --class_weights 0.8373,0.9180,0.8660,1.0345,1.0166,0.9969,0.9754,1.0489,0.8786,1.0023,0.9539,0.9843,1.1116,0.9037,1.0865,1.0955,1.0865,1.1529,1.0507)
source "$(dirname "$0")/../contrast_recipe.sh"
