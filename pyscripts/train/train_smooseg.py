"""Trains SmooSeg on the features of a trunk that stays as it is; no label is needed.

  python pyscripts/train/train_smooseg.py --preset cityscapes27 --data_dir cityscapes/ \
    --data_list cityscapes/train.txt --restore_from dino_vits8.safetensors \
    --snapshot_dir snapshots/smooseg
  python pyscripts/train/train_smooseg.py --images my_photos/ --num_classes 12 \
    --backbone mobilenet_v2 --restore_from mobilenet_v2.weights.h5 --snapshot_dir snapshots/mine

Another trunk or data set wants thresholds of its own. Closeness above them is drawn together: too
low a --within_threshold makes an image one cluster (few used_clusters in the log, within_distance
near 0), too high a one parts what is alike (within_distance near across_distance). Begin a little
above the log's first within_closeness; MobileNetV2 on streets has 0.4, across images too.
inference_clusters.py predicts and scores.
"""

import train_frozen  # also puts the project's root on the path

from utils.command_line import run


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_frozen.main(arguments, 'smooseg', __doc__)


if __name__ == '__main__':
  run(main)
