"""Trains SmooSeg on the features of a trunk that stays as it is; no label is needed.

  python pyscripts/train/train_smooseg.py --preset cityscapes27 --data_dir cityscapes/ \
    --data_list cityscapes/train.txt --restore_from dino_vitsmall8_pretrain.safetensors \
    --snapshot_dir snapshots/smooseg
  python pyscripts/train/train_smooseg.py --images my_photos/ --num_classes 12 \
    --backbone mobilenet_v2 --restore_from mobilenet_v2.weights.h5 --snapshot_dir snapshots/mine

For another trunk or data set choose --within_threshold: too low, and images become of one cluster
(within_distance in the log near 0, used_clusters too); too high, and pixels that are alike part
(within_distance near across_distance). inference_clusters.py predicts and scores.
"""

import train_frozen  # also puts the project's root on the path

from utils.command_line import run


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_frozen.main(arguments, 'smooseg', __doc__)


if __name__ == '__main__':
  run(main)
