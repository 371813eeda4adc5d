#!/usr/bin/env bash
# SmooSeg on Cityscapes-27. Variables and what is run: ../frozen_recipe.sh.
# Lists hold lines `leftImg8bit/train/aachen/x_leftImg8bit.png gtFine/train/aachen/x_gtFine_labelIds.png`, whose raw
# label ids become the 27 classes.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder with leftImg8bit/ and gtFine/}"
METHOD=smooseg DEFAULT_PRESET=cityscapes27 DEFAULT_BACKBONE=dino_vits8
source "$(dirname "$0")/../frozen_recipe.sh"
