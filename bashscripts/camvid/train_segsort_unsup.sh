#!/usr/bin/env bash
# SegSort without labels on CamVid: oversegmentations by the built-in contours, training on them, then prototypes of the
# labelled train split, single-scale inference on val, mIoU; then, without any label, val's segments grouped into 11
# pseudo-classes, which are matched to the classes for the score alone. With BASELINES=1 also what the same steps give
# without training: the backbone's ImageNet features, and the network with its head as initialised. Skips what is done.
set -euo pipefail
source "$(dirname "$0")/recipe.sh"
source bashscripts/environment.sh requirements-oversegmentation.txt

RUN="$OUTPUT/segsort_unsup/seed$SEED"
REGIONS="$OUTPUT/regions"
NUM_CLUSTERS="${NUM_CLUSTERS:-20}"
K="${K_IN_NEAREST_NEIGHBORS:-15}"

prepare
"$PYTHON" pyscripts/data/make_oversegmentation.py --images "$HALF/train.txt" --data_dir "$HALF" --contours gradient \
  --output "$REGIONS"

# label DIRECTORY CHECKPOINT [flags]: train's masks are read here, and only here
label() {
  local directory="$1" checkpoint="$2"; shift 2
  local common=(--data_dir "$HALF" --dataset camvid --num_classes 11 --restore_from "$checkpoint"
    --num_clusters "$NUM_CLUSTERS" "$@")
  "$PYTHON" pyscripts/inference/extract_prototypes.py "${common[@]}" --data_list "$HALF/train.txt" \
    --save_dir "$directory/bank$NUM_CLUSTERS"
  "$PYTHON" pyscripts/inference/inference_segsort.py "${common[@]}" --data_list "$HALF/val.txt" \
    --save_dir "$directory/val" --prototype_dir "$directory/bank$NUM_CLUSTERS/prototypes" --k_in_nearest_neighbors "$K"
  score "$directory/val"
  "$PYTHON" pyscripts/inference/inference_segsort.py "${common[@]}" --data_list "$HALF/val.txt" \
    --save_dir "$directory/pseudo_classes" --cluster_classes 11
  score "$directory/pseudo_classes" --hungarian
}

if [ "${BASELINES:-0}" = 1 ]; then
  label "$OUTPUT/segsort_unsup/features" "$BACKBONE" --model "features_${MODEL#*_}"
  label "$OUTPUT/segsort_unsup/untrained" "$BACKBONE" --model "$MODEL" --untrained_head
fi
train train_segsort_unsup.py "$RUN" --oversegmentation_dir "$REGIONS"
label "$RUN" "$RUN/model.ckpt-$((NUM_STEPS - 1))"
