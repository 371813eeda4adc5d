#!/usr/bin/env bash
# The original's recipe on one GPU: stage 1 on train+ (10,582 images), stage 2 on train (1,464), prototypes and
# single-scale inference after each, multi-scale inference at the end. Stages that are done are skipped; a stage
# that was interrupted goes on. Run from anywhere; every variable can be set in the environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
source bashscripts/environment.sh

DATAROOT="${DATAROOT:-VOC2012/}"                     # holds JPEGImages/, SegmentationClass/ ... (VOC2012/README.md)
LISTS="${LISTS:-VOC2012/lists}"                      # written by pyscripts/data/prepare_voc12.py
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/segsort}"
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/trained/resnet_v1_101.ckpt}"
BATCH_SIZE="${BATCH_SIZE:-8}"
TRAIN_INPUT_SIZE="${TRAIN_INPUT_SIZE:-336,336}"
NUM_STEPS1="${NUM_STEPS1:-30000}" NUM_STEPS2="${NUM_STEPS2:-30000}"
LEARNING_RATE1="${LEARNING_RATE1:-2e-3}" LEARNING_RATE2="${LEARNING_RATE2:-2e-4}"
NUM_GPU="${NUM_GPU:-1}"
TRAIN_SCRIPT="${TRAIN_SCRIPT:-train_segsort.py}"
SAVE_EVERY1="${SAVE_EVERY1:-$NUM_STEPS1}" SAVE_EVERY2="${SAVE_EVERY2:-$NUM_STEPS2}"
EMBEDDING_DIM=32 CONCENTRATION=10 NUM_CLUSTERS=5 KMEANS_ITERATIONS=10 NUM_BANKS=2
K_IN_NEAREST_NEIGHBORS="${K_IN_NEAREST_NEIGHBORS:-15}"

# train STAGE LIST STEPS RATE SAVE_EVERY RESTORE
train() {
  "$PYTHON" "pyscripts/train/$TRAIN_SCRIPT" \
    --snapshot_dir "$SNAPSHOT_DIR/$1" --restore_from "$6" --data_dir "$DATAROOT" --data_list "$2" \
    --batch_size "$BATCH_SIZE" --input_size "$TRAIN_INPUT_SIZE" --num_classes 21 --ignore_label 255 \
    --num_steps "$(($3 + 1))" --save_pred_every "$5" --update_tb_every 50 \
    --learning_rate "$4" --weight_decay 5e-4 --momentum 0.9 --power 0.9 \
    --random_mirror --random_scale --random_crop --is_training --num_gpu "$NUM_GPU" \
    --embedding_dim $EMBEDDING_DIM --concentration $CONCENTRATION --num_clusters $NUM_CLUSTERS \
    --kmeans_iterations $KMEANS_ITERATIONS --num_banks $NUM_BANKS
}

# prototypes STAGE LIST STEPS
prototypes() {
  "$PYTHON" pyscripts/inference/extract_prototypes.py \
    --save_dir "$SNAPSHOT_DIR/$1/results" --restore_from "$SNAPSHOT_DIR/$1/model.ckpt-$3" \
    --data_dir "$DATAROOT" --data_list "$2" --num_classes 21 --ignore_label 255 \
    --embedding_dim $EMBEDDING_DIM --num_clusters $NUM_CLUSTERS --kmeans_iterations $KMEANS_ITERATIONS
}

# infer STAGE STEPS SCRIPT OUTPUT [flags]
infer() {
  local stage="$1" steps="$2" script="$3" output="$4"; shift 4
  "$PYTHON" "pyscripts/inference/$script" \
    --save_dir "$SNAPSHOT_DIR/$stage/results/$output" --restore_from "$SNAPSHOT_DIR/$stage/model.ckpt-$steps" \
    --prototype_dir "$SNAPSHOT_DIR/$stage/results/prototypes" --data_dir "$DATAROOT" --data_list "$LISTS/val.txt" \
    --num_classes 21 --embedding_dim $EMBEDDING_DIM --num_clusters $NUM_CLUSTERS \
    --kmeans_iterations $KMEANS_ITERATIONS --k_in_nearest_neighbors "$K_IN_NEAREST_NEIGHBORS" "$@"
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py \
    --pred_dir "$SNAPSHOT_DIR/$stage/results/$output/gray/" --data_dir "$DATAROOT" --data_list "$LISTS/val.txt" \
    --num_classes 21 --json "$SNAPSHOT_DIR/$stage/results/$output/metrics.json"
}

train stage1 "$LISTS/train+.txt" "$NUM_STEPS1" "$LEARNING_RATE1" "$SAVE_EVERY1" "$RESTORE_FROM"
prototypes stage1 "$LISTS/train+.txt" "$NUM_STEPS1"
infer stage1 "$NUM_STEPS1" inference_segsort.py val
# Deviates from the original, which leaves the head behind here (--not_restore_classifier) on one GPU only.
train stage2 "$LISTS/train.txt" "$NUM_STEPS2" "$LEARNING_RATE2" "$SAVE_EVERY2" "$SNAPSHOT_DIR/stage1/model.ckpt-$NUM_STEPS1"
prototypes stage2 "$LISTS/train.txt" "$NUM_STEPS2"
infer stage2 "$NUM_STEPS2" inference_segsort.py val
infer stage2 "$NUM_STEPS2" inference_segsort_msc.py val_msc --flip_aug --scale_aug
