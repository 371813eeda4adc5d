#!/usr/bin/env bash
# Pixel contrast on CamVid, on MobileNetV2 DeepLab v3: training, single- and multi-scale inference on val as any softmax
# network, mIoU. Skips what is done.
#   CONTRAST_WEIGHT   of the contrast beside the cross-entropy; 0 is the baseline, on the same path
#   MEMORY            none, pixel, region or both
#   KNN=1             also label val by the nearest prototypes of the projection, the other reading of the same network
set -euo pipefail
MODEL="${MODEL:-deeplab_v3_mobilenet_v2}"
source "$(dirname "$0")/recipe.sh"

CONTRAST_WEIGHT="${CONTRAST_WEIGHT:-0.1}"
MEMORY="${MEMORY:-none}"
# An eighth of the run, as in the original's schedule on Cityscapes.
WARMUP_STEPS="${WARMUP_STEPS:-$((NUM_STEPS / 8))}"
# A class needs more pixels than this for anchors; the map of a 160x160 crop has 400 where the original's has 32768.
MAX_VIEWS="${MAX_VIEWS:-10}"
MEMORY_SIZE="${MEMORY_SIZE:-500}"
RUN="$OUTPUT/contrast/weight$CONTRAST_WEIGHT-memory_$MEMORY/seed$SEED"
CKPT="$RUN/model.ckpt-$((NUM_STEPS - 1))"

prepare
train train_contrast.py "$RUN" --contrast_weight "$CONTRAST_WEIGHT" --memory "$MEMORY" \
  --warmup_steps "$WARMUP_STEPS" --max_views "$MAX_VIEWS" --memory_size "$MEMORY_SIZE"
COMMON=(--data_dir "$HALF" --dataset camvid --num_classes 11 --restore_from "$CKPT")
infer() {
  local script="$1" output="$2"; shift 2
  "$PYTHON" "pyscripts/inference/$script" "${COMMON[@]}" --data_list "$HALF/val.txt" --save_dir "$output" "$@"
  score "$output"
}
infer inference.py "$RUN/val"
infer inference_msc.py "$RUN/val_msc" --flip-aug --scale-aug
if [ "${KNN:-0}" = 1 ] && [ "$CONTRAST_WEIGHT" != 0 ]; then
  NUM_CLUSTERS="${NUM_CLUSTERS:-20}"
  "$PYTHON" pyscripts/inference/extract_prototypes.py "${COMMON[@]}" --data_list "$HALF/train.txt" \
    --embedding projection --num_clusters "$NUM_CLUSTERS" --save_dir "$RUN/bank$NUM_CLUSTERS"
  infer inference_segsort.py "$RUN/val_knn" --embedding projection --num_clusters "$NUM_CLUSTERS" \
    --prototype_dir "$RUN/bank$NUM_CLUSTERS/prototypes" --k_in_nearest_neighbors "${K_IN_NEAREST_NEIGHBORS:-15}"
fi
