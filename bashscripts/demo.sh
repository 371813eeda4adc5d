#!/usr/bin/env bash
# The whole way in one command: labelled scenes are drawn (or your own data taken), SegSort is trained on them,
# prototypes are extracted, new images are segmented by their nearest neighbours, and the mIoU is printed.
#
#   bash bashscripts/demo.sh
#   bash bashscripts/demo.sh --data_dir DIR --data_list TRAIN.txt [--val_list VAL.txt] [--num_classes N]
#                            [--dataset NAME] [--input_size H,W] [--num_steps N] [--output DIR]
#
# List files have lines `image mask`, relative to DIR. Without --val_list every fifth line of the list is kept for
# the evaluation. A second call reuses what is there.
set -euo pipefail
start=$(date +%s)
invoked_from="$PWD"
cd "$(dirname "$0")/.."

data_dir="" data_list="" val_list="" num_classes="" dataset="" input_size="" num_steps="" output=""
while [ $# -gt 0 ]; do
  case "$1" in
    --data_dir|--data_list|--val_list|--num_classes|--dataset|--input_size|--num_steps|--output)
      [ $# -ge 2 ] || { echo "demo.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" '%s' "$2"; shift 2 ;;
    -h|--help) sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "demo.sh: unknown argument $1 (--help lists them)" >&2; exit 2 ;;
  esac
done
# Paths are relative to where the script was called.
absolute() { case "$1" in ""|/*) printf '%s' "$1" ;; *) printf '%s/%s' "$invoked_from" "$1" ;; esac; }
data_dir="$(absolute "$data_dir")" data_list="$(absolute "$data_list")" val_list="$(absolute "$val_list")"
output="$(absolute "$output")"

source bashscripts/environment.sh requirements.txt
installed=$(date +%s)

if [ -n "$val_list" ] && [ -z "$data_list" ]; then
  echo "demo.sh: --val_list needs --data_list, the training images" >&2; exit 2
fi
if [ -z "$data_dir$data_list" ]; then
  output="${output:-snapshots/demo}"
  data_dir="$output/scenes"
  "$PYTHON" pyscripts/data/make_scenes.py --output_dir "$data_dir"
  data_list="$data_dir/train.txt" val_list="$data_dir/val.txt" dataset="${dataset:-scenes}"
else
  data_dir="${data_dir:-$invoked_from}"
  [ -n "$data_list" ] || { echo "demo.sh: --data_dir needs --data_list, a file of lines 'image mask'" >&2; exit 2; }
  output="${output:-snapshots/own}"
  if [ -z "$val_list" ]; then
    mkdir -p "$output"
    awk 'NF && ++n % 5 != 0' "$data_list" > "$output/train.txt"
    awk 'NF && ++n % 5 == 0' "$data_list" > "$output/val.txt"
    [ -s "$output/val.txt" ] || { echo "demo.sh: $data_list has fewer than 5 images: give --val_list too" >&2; exit 2; }
    data_list="$output/train.txt" val_list="$output/val.txt"
  fi
fi
# A small network, for two CPU cores; every setting is an option of the real one.
num_steps="${num_steps:-1200}"
common=(--data_dir "$data_dir")
[ -z "$dataset" ] || common+=(--dataset "$dataset")
[ -z "$num_classes" ] || common+=(--num_classes "$num_classes")
checkpoint="$output/run/model.ckpt-$((num_steps - 1))"
clusters=(--num_clusters 8 --restore_from "$checkpoint")

echo "== Training =="
"$PYTHON" pyscripts/train/train_segsort.py "${common[@]}" --data_list "$data_list" --snapshot_dir "$output/run" \
  --model pspnet_resnet50 --width 0.25 --blocks 1,1,1,1 --head_dim 64 --batch_norm_decay 0.95 \
  --batch_size 8 --input_size "${input_size:-96,96}" --random_mirror --random_scale --random_crop \
  --scale_range 0.75,1.5 \
  --num_steps "$num_steps" --learning_rate 0.1 --num_clusters 5
echo "== Prototypes of the training images =="
"$PYTHON" pyscripts/inference/extract_prototypes.py "${common[@]}" "${clusters[@]}" --data_list "$data_list" \
  --save_dir "$output/run"
echo "== New images, by their nearest neighbours =="
"$PYTHON" pyscripts/inference/inference_segsort.py "${common[@]}" "${clusters[@]}" --data_list "$val_list" \
  --save_dir "$output/val" --prototype_dir "$output/run/prototypes" --save_neighbours
echo "== Evaluation =="
"$PYTHON" pyscripts/benchmark/benchmark_by_mIoU.py "${common[@]}" --data_list "$val_list" \
  --pred_dir "$output/val/gray/" --json "$output/val/metrics.json"
end=$(date +%s)
"$PYTHON" pyscripts/inference/show_neighbours.py "${common[@]}" --data_list "$val_list" --save_dir "$output/val" --rows 4
echo "Pictures: $output/val/color/, and with the retrieved segments: $output/val/explained/"
echo "Predictions: $output/val/gray/, neighbours: $output/val/neighbours/"
echo "Training log: $output/run/metrics.jsonl; $PYTHON -m tensorboard.main --logdir $output/run shows it"
echo "Took $((end - installed)) s, and $((installed - start)) s for the environment"
"$PYTHON" -c 'import json, sys
value = json.load(open(sys.argv[1]))["mean_iou"]
print(f"mean IoU: {100 * value:.2f} %")' "$output/val/metrics.json"
