#!/usr/bin/env bash
# STEGO on Potsdam-3. Variables and what is run: ../frozen_recipe.sh.
# Lists hold lines `x.png x_mask.png` of tiles as RGB images and masks of the six classes' numbers, 255 for none, which
# become three classes.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder with the tiles}"
METHOD=stego DEFAULT_PRESET=potsdam3 DEFAULT_BACKBONE=dino_vits8
source "$(dirname "$0")/../frozen_recipe.sh"
