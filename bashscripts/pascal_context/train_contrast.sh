#!/usr/bin/env bash
# Pixel contrast on PASCAL Context: 60000 steps of 16 crops of 520x520. Variables and what is run: ../contrast_recipe.sh.
# Masks hold 0 for none of the 59 classes and 1 to 59 in alphabetical order, as mmsegmentation's converter writes them
# (SegmentationClassContext); DATASET=pascal_context60 counts the 0 as a class.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder that the paths of train.txt and val.txt are relative to}"
DATASET="${DATASET:-pascal_context}" DEFAULT_STEPS=60000 DEFAULT_BATCH=16
DEFAULT_WEIGHT=0.1 DEFAULT_TEMPERATURE=0.07 DEFAULT_VIEWS=100
TRAINING=(--input_size 520,520 --learning_rate 0.001 --weight_decay 1e-4)
source "$(dirname "$0")/../contrast_recipe.sh"
