#!/usr/bin/env bash
# The tables of README.md, "CamVid": SegSort and softmax, single- and multi-scale; SegSort without labels with what its
# backbone gives untrained; pixel contrast beside its baseline, with each memory. Two seeds each. Skips what is done.
# The results, small JSON files, go to snapshots/results/camvid, which is in the repository; with other settings
# (NUM_STEPS=..., LEARNING_RATE=...) name another folder: RESULTS=/tmp/results.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/results.sh"
results camvid NUM_STEPS BATCH_SIZE INPUT_SIZE LEARNING_RATE MODEL NUM_CLUSTERS MSC_NUM_CLUSTERS K_IN_NEAREST_NEIGHBORS

for seed in ${SEEDS:-1 2}; do
  for method in segsort softmax; do
    name="$RESULTS/$method-seed$seed"
    if [ ! -f "$name-single.json" ] || [ ! -f "$name-multi.json" ]; then
      SEED="$seed" bash "$here/train_$method.sh"
      cp "$OUTPUT/$method/seed$seed/val/metrics.json" "$name-single.json"
      cp "$OUTPUT/$method/seed$seed/val_msc/metrics.json" "$name-multi.json"
    fi
  done
done
for seed in ${SEEDS:-1 2}; do
  for setting in 0:none 0.1:none 0.1:pixel 0.1:region 0.1:both; do
    weight="${setting%:*}" memory="${setting#*:}"
    name="$RESULTS/contrast_${weight}_$memory-seed$seed"
    if [ ! -f "$name-single.json" ] || [ ! -f "$name-multi.json" ]; then
      # Of the setting without a memory both readings are shown, the classifier's and the nearest neighbours'.
      knn=0; [ "$setting" != 0.1:none ] || knn=1
      SEED="$seed" CONTRAST_WEIGHT="$weight" MEMORY="$memory" KNN="$knn" bash "$here/train_contrast.sh"
      run="$OUTPUT/contrast/weight$weight-memory_$memory/seed$seed"
      [ "$knn" = 0 ] || cp "$run/val_knn/metrics.json" "$RESULTS/contrast_${weight}_${memory}_neighbours-seed$seed-single.json"
      cp "$run/val_msc/metrics.json" "$name-multi.json"
      cp "$run/val/metrics.json" "$name-single.json"
    fi
  done
done
for seed in ${SEEDS:-1 2}; do
  if [ ! -f "$RESULTS/segsort_unsup-seed$seed-single.json" ] || [ ! -f "$RESULTS/features-single.json" ]; then
    SEED="$seed" BASELINES=1 bash "$here/train_segsort_unsup.sh"
    cp "$OUTPUT/segsort_unsup/seed$seed/val/metrics.json" "$RESULTS/segsort_unsup-seed$seed-single.json"
    cp "$OUTPUT/segsort_unsup/seed$seed/pseudo_classes/metrics.json" "$RESULTS/segsort_unsup-seed$seed-pseudo_classes.json"
    for baseline in features untrained; do
      cp "$OUTPUT/segsort_unsup/$baseline/val/metrics.json" "$RESULTS/$baseline-single.json"
      cp "$OUTPUT/segsort_unsup/$baseline/pseudo_classes/metrics.json" "$RESULTS/$baseline-pseudo_classes.json"
    done
  fi
done
show_table "$RESULTS"
