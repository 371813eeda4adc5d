#!/usr/bin/env bash
# Sourced by {cityscapes,coco_stuff,pascal_context}/train_contrast.sh, which set what is of their data: training with
# pixel contrast, inference on val as of any softmax network, mIoU. Stages that are done are skipped.
#
#   DATA_DIR         folder that the paths of the lists are relative to; TRAIN_LIST, VAL_LIST: lines `image mask`
#   MODEL            hrnet_hrnet_w48, ocr_hrnet_w48, deeplab_v3_resnet101_deep or any other (seg_models/models)
#   RESTORE_FROM     ImageNet weights; the default is by MODEL (snapshots/README.md)
#   CONTRAST_WEIGHT  of the contrast beside the cross-entropy; 0 is the fair baseline, on the same path
#   MEMORY           none, pixel, region or both
# Settings are those of the original's configurations, with its head as fast as the trunk, where here it learns ten
# times faster, without its stretching of images by up to 10 %, its brightness and its resizing to a shortest side.
# We have not run these scripts, for want of the data.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source bashscripts/environment.sh requirements.txt

TRAIN_LIST="${TRAIN_LIST:-$DATA_DIR/train.txt}" VAL_LIST="${VAL_LIST:-$DATA_DIR/val.txt}"
MODEL="${MODEL:-hrnet_hrnet_w48}"
CONTRAST_WEIGHT="${CONTRAST_WEIGHT:-$DEFAULT_WEIGHT}"
MEMORY="${MEMORY:-none}" MEMORY_SIZE="${MEMORY_SIZE:-5000}"
TEMPERATURE="${TEMPERATURE:-$DEFAULT_TEMPERATURE}" MAX_VIEWS="${MAX_VIEWS:-$DEFAULT_VIEWS}"
WARMUP_STEPS="${WARMUP_STEPS:-5000}"
NUM_GPU="${NUM_GPU:-4}" NUM_STEPS="${NUM_STEPS:-$DEFAULT_STEPS}" BATCH_SIZE="${BATCH_SIZE:-$DEFAULT_BATCH}"
SEED="${SEED:-304}"
SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/$DATASET/contrast/$MODEL-weight$CONTRAST_WEIGHT-memory_$MEMORY/seed$SEED}"
CKPT="$SNAPSHOT_DIR/model.ckpt-$((NUM_STEPS - 1))"

case "$MODEL" in
  *_hrnet_w??) WEIGHTS="${MODEL#*_}.safetensors" ;;
  *_resnet*_deep) WEIGHTS="$(sed 's/.*_resnet\(.*\)_deep/resnet_v1_\1_beta/' <<<"$MODEL")/model.ckpt" ;;
  *_resnet*) WEIGHTS="trained/resnet_v1_${MODEL##*_resnet}.ckpt" ;;
  *) WEIGHTS="mobilenet_v2.weights.h5" ;;
esac
RESTORE_FROM="${RESTORE_FROM:-snapshots/imagenet/$WEIGHTS}"

# The original's auxiliary loss and the width of its head.
NETWORK=(--model "$MODEL")
case "$MODEL" in
  deeplab_v3_*) NETWORK+=(--head_dim "${HEAD_DIM:-512}" --auxiliary_weight 0.4) ;;
  ocr_*) NETWORK+=(--auxiliary_weight 0.4) ;;
esac

DATA=(--data_dir "$DATA_DIR" --dataset "$DATASET")
"$PYTHON" pyscripts/train/train_contrast.py "${DATA[@]}" --data_list "$TRAIN_LIST" --num_gpu "$NUM_GPU" \
  --snapshot_dir "$SNAPSHOT_DIR" --restore_from "$RESTORE_FROM" "${NETWORK[@]}" "${TRAINING[@]}" \
  --batch_size "$BATCH_SIZE" --num_steps "$NUM_STEPS" --seed "$SEED" --batch_norm_decay 0.9 --momentum 0.9 --power 0.9 \
  --random_mirror --random_scale --random_crop --contrast_weight "$CONTRAST_WEIGHT" --warmup_steps "$WARMUP_STEPS" \
  --temperature "$TEMPERATURE" --base_temperature 0.07 --max_samples 1024 --max_views "$MAX_VIEWS" \
  --memory "$MEMORY" --memory_size "$MEMORY_SIZE" --pixel_update_freq 10
infer() {
  local script="$1" output="$2"; shift 2
  "$PYTHON" "pyscripts/inference/$script" "${DATA[@]}" --data_list "$VAL_LIST" --restore_from "$CKPT" \
    --save_dir "$output" "$@"
  "$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir "$output/gray/" "${DATA[@]}" \
    --data_list "$VAL_LIST" --json "$output/metrics.json"
}
infer inference.py "$SNAPSHOT_DIR/val"
infer inference_msc.py "$SNAPSHOT_DIR/val_msc" --flip-aug --scale-aug
