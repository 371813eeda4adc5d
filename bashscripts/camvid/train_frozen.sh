#!/usr/bin/env bash
# Segmentation without labels on CamVid, on the features of MobileNetV2 with its ImageNet weights, which stay as they
# are: features and neighbours, training, clusters of val matched to its classes for the score, and the linear probe,
# which alone has seen train's masks. The checkpoint is the last. Skips what is done.
#   METHOD   stego, smooseg or dino_kmeans, k-means on the features themselves
#   TRUNK    another trunk, or whole network, with the weights TRUNK_WEIGHTS
#   FLAGS    further flags of pyscripts/train/train_frozen.py
set -euo pipefail
METHOD="${METHOD:-stego}"
NUM_STEPS="${NUM_STEPS:-500}" BATCH_SIZE="${BATCH_SIZE:-16}"
source "$(dirname "$0")/recipe.sh"

# The shorter side that the trunk sees in training, of which it sees the middle square, and on val.
SIZE="${SIZE:-224}"
VAL_SIZE="${VAL_SIZE:-320}"
RUN="${RUN:-$OUTPUT/frozen/$METHOD/seed$SEED}"
# Of the similarities of these features, as the first steps' log and histograms show them without a label, a quarter of the
# pairs of one image lies above 0.5, and above 0.4 a quarter of those of neighbours and a sixth of random ones: these are
# drawn together. The publications' thresholds are of DINO's features. Of the few settings tried these were the best on 62 masks
# of train.
case "$METHOD" in
  stego) OWN=(--self_shift 0.5 --neighbour_shift 0.4 --random_shift 0.4 --learning_rate 1e-4) ;;
  smooseg) OWN=(--within_threshold 0.5 --across_threshold 0.4 --learning_rate 5e-4) ;;
  *) OWN=() ;;
esac

prepare
"$PYTHON" pyscripts/train/train_frozen.py "$METHOD" --backbone "${TRUNK:-${MODEL#*_}}" --restore_from "${TRUNK_WEIGHTS:-$BACKBONE}" \
  --data_dir "$HALF" --data_list "$HALF/train.txt" --dataset camvid --size "$SIZE" --cache_dir "$OUTPUT/features" \
  --snapshot_dir "$RUN" --batch_size "$BATCH_SIZE" --num_steps "$NUM_STEPS" --save_pred_every "$NUM_STEPS" \
  --seed "$SEED" ${OWN[@]+"${OWN[@]}"} ${FLAGS:-}
"$PYTHON" pyscripts/inference/inference_clusters.py --restore_from "$RUN/model.ckpt-$((NUM_STEPS - 1))" \
  --data_dir "$HALF" --data_list "$HALF/val.txt" --size "$VAL_SIZE" --save_dir "$RUN/val"
