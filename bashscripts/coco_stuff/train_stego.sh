#!/usr/bin/env bash
# STEGO on CocoStuff-27. Variables and what is run: ../frozen_recipe.sh. The larger trunk has settings of its own:
# PRESET=coco_stuff27_vitb BACKBONE=dino_vitb8.
# Lists hold lines `images/train2017/x.jpg annotations/train2017/x.png` of COCO-Stuff 164k's pixel maps, whose numbers
# become the 27 coarse classes. The published numbers are of the list Coarse for training and Coarse_7 for val.
set -euo pipefail
: "${DATA_DIR:?set DATA_DIR to the folder with images/ and annotations/}"
METHOD=stego DEFAULT_PRESET=coco_stuff27_vits DEFAULT_BACKBONE=dino_vits8
source "$(dirname "$0")/../frozen_recipe.sh"
