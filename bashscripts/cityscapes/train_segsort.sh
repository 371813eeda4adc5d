#!/usr/bin/env bash
# SegSort on Cityscapes with the settings that the author gave (untested by him, and by us for want of the data).
# Lists hold lines `leftImg8bit/train/aachen/x_leftImg8bit.png gtFine/train/aachen/x_gtFine_labelIds.png`;
# --dataset cityscapes maps the raw label ids to the 19 classes. Stages that are done are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
source bashscripts/environment.sh requirements.txt

: "${DATA_DIR:?set DATA_DIR to the folder with leftImg8bit/ and gtFine/}"
TRAIN_LIST="${TRAIN_LIST:-$DATA_DIR/train.txt}" VAL_LIST="${VAL_LIST:-$DATA_DIR/val.txt}"
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/cityscapes/segsort}"
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/trained/resnet_v1_101.ckpt}"
NUM_GPU="${NUM_GPU:-4}" NUM_STEPS="${NUM_STEPS:-150000}" BATCH_SIZE="${BATCH_SIZE:-8}"
TRAIN_CLUSTERS=8 EVAL_CLUSTERS=16 KMEANS_ITERATIONS=15
K_IN_NEAREST_NEIGHBORS="${K_IN_NEAREST_NEIGHBORS:-15}"
CKPT="$SNAPSHOT_DIR/model.ckpt-$NUM_STEPS"
COMMON=(--data_dir "$DATA_DIR" --dataset cityscapes --num_classes 19 --ignore_label 255 --embedding_dim 32)

"$PYTHON" pyscripts/train/train_segsort_mgpu.py "${COMMON[@]}" --data_list "$TRAIN_LIST" --num_gpu "$NUM_GPU" \
  --snapshot_dir "$SNAPSHOT_DIR" --restore_from "$RESTORE_FROM" --batch_size "$BATCH_SIZE" --input_size 720,720 \
  --num_steps "$((NUM_STEPS + 1))" --save_pred_every 10000 --update_tb_every 50 --learning_rate 3e-3 \
  --weight_decay 5e-4 --momentum 0.9 --power 0.9 --random_mirror --random_scale --random_crop --is_training \
  --concentration 10 --num_clusters $TRAIN_CLUSTERS --kmeans_iterations $KMEANS_ITERATIONS --num_banks 2
"$PYTHON" pyscripts/inference/extract_prototypes.py "${COMMON[@]}" --data_list "$TRAIN_LIST" \
  --save_dir "$SNAPSHOT_DIR/results" --restore_from "$CKPT" --windows --input_size 720,720 --strides 480,480 \
  --num_clusters $EVAL_CLUSTERS --kmeans_iterations $KMEANS_ITERATIONS
"$PYTHON" pyscripts/inference/inference_segsort_msc.py "${COMMON[@]}" --data_list "$VAL_LIST" \
  --save_dir "$SNAPSHOT_DIR/results/val_msc" --restore_from "$CKPT" --prototype_dir "$SNAPSHOT_DIR/results/prototypes" \
  --windows --input_size 720,720 --strides 480,480 --num_clusters $EVAL_CLUSTERS \
  --kmeans_iterations $KMEANS_ITERATIONS --k_in_nearest_neighbors "$K_IN_NEAREST_NEIGHBORS" --flip_aug --scale_aug
"$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir "$SNAPSHOT_DIR/results/val_msc/gray/" \
  --data_dir "$DATA_DIR" --data_list "$VAL_LIST" --dataset cityscapes --num_classes 19 \
  --json "$SNAPSHOT_DIR/results/val_msc/metrics.json"
