#!/usr/bin/env bash
# Pixel contrast on COCO-Stuff: 60000 steps of 16 crops of 520x520. Variables and what is run: ../contrast_recipe.sh.
# Masks are the pixel maps of stuffthingmaps (0 to 181, 255); --dataset coco_stuff maps them to the 171 classes that are
# used, DATASET=coco_stuff27 to the 27 coarse ones.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder that the paths of train.txt and val.txt are relative to}"
DATASET="${DATASET:-coco_stuff}" DEFAULT_STEPS=60000 DEFAULT_BATCH=16
DEFAULT_WEIGHT=0.1 DEFAULT_TEMPERATURE=0.07 DEFAULT_VIEWS=100
TRAINING=(--input_size 520,520 --learning_rate 0.001 --weight_decay 1e-4)
source "$(dirname "$0")/../contrast_recipe.sh"
