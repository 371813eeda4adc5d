#!/usr/bin/env bash
# The table of README.md, "CamVid without labels": clusters of MobileNetV2's features by k-means, of SegSort's
# pseudo-classes, STEGO and SmooSeg, 11 of each, and linear probes; three seeds each. Skips what is done.
# The results, small JSON files, go to snapshots/results/camvid/clusters, which is in the repository; with other settings
# (NUM_STEPS=..., SIZE=...) name another folder: RESULTS=/tmp/results.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/results.sh"
results camvid/clusters NUM_STEPS BATCH_SIZE INPUT_SIZE LEARNING_RATE MODEL NUM_CLUSTERS SIZE VAL_SIZE FLAGS

for seed in ${SEEDS:-1 2 3}; do
  for method in ${METHODS:-dino_kmeans segsort_unsup stego smooseg}; do
    name="$RESULTS/$method-seed$seed"
    [ ! -f "$name-clusters.json" ] || continue
    if [ "$method" = segsort_unsup ]; then
      SEED="$seed" bash "$here/train_segsort_unsup.sh"
      run="$OUTPUT/segsort_unsup/seed$seed"  # its embedding has a linear probe too
      SEED="$seed" METHOD=dino_kmeans TRUNK=pspnet_mobilenet_v2 TRUNK_WEIGHTS="$run/model.ckpt-1199" RUN="$run/probe" \
        bash "$here/train_frozen.sh"
      cp "$run/probe/val/metrics_linear.json" "$name-linear.json"
      cp "$run/pseudo_classes/metrics.json" "$name-clusters.json"
    else
      SEED="$seed" METHOD="$method" bash "$here/train_frozen.sh"
      cp "$OUTPUT/frozen/$method/seed$seed/val/metrics_linear.json" "$name-linear.json"
      cp "$OUTPUT/frozen/$method/seed$seed/val/metrics.json" "$name-clusters.json"
    fi
  done
done
show_table --clusters "$RESULTS"
