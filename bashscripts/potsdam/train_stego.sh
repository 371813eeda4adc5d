#!/usr/bin/env bash
# STEGO on Potsdam-3. Variables and what is run: ../frozen_recipe.sh.
# pyscripts/data/prepare_potsdam.py makes DATA_DIR of the archive's .mat tiles.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder that pyscripts/data/prepare_potsdam.py has made}"
METHOD=stego DEFAULT_PRESET=potsdam3 DEFAULT_BACKBONE=dino_vits8
source "$(dirname "$0")/../frozen_recipe.sh"
