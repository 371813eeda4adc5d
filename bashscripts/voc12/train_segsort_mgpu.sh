#!/usr/bin/env bash
# The original's recipe on several GPUs: train_segsort.sh with its larger crops, batches and schedule.
set -euo pipefail
export NUM_GPU="${NUM_GPU:-4}" TRAIN_SCRIPT=train_segsort_mgpu.py
export SNAPSHOT_DIR="${SNAPSHOT_DIR:-snapshots/voc12/segsort_mgpu}"
export BATCH_SIZE="${BATCH_SIZE:-16}" TRAIN_INPUT_SIZE="${TRAIN_INPUT_SIZE:-480,480}"
export NUM_STEPS1="${NUM_STEPS1:-100000}" NUM_STEPS2="${NUM_STEPS2:-30000}"
export K_IN_NEAREST_NEIGHBORS="${K_IN_NEAREST_NEIGHBORS:-21}"
exec bash "$(dirname "$0")/train_segsort.sh"
