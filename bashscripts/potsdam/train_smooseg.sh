#!/usr/bin/env bash
# SmooSeg on Potsdam-3. Variables and what is run: ../frozen_recipe.sh. The newer trunk has settings of its own:
# PRESET=potsdam3_dinov2 BACKBONE=dinov2_vitb14.
# pyscripts/data/prepare_potsdam.py makes DATA_DIR of the archive's .mat tiles.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder that pyscripts/data/prepare_potsdam.py has made}"
METHOD=smooseg DEFAULT_PRESET=potsdam3 DEFAULT_BACKBONE=dino_vitb8
source "$(dirname "$0")/../frozen_recipe.sh"
