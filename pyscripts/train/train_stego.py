"""Trains STEGO: codes of a frozen trunk's features that correspond, and clusters of them.

  python pyscripts/train/train_stego.py --preset coco_stuff27_vits --data_dir cocostuff/ \
    --data_list cocostuff/train.txt --restore_from dino_vits8.safetensors \
    --snapshot_dir snapshots/stego
Any folder of images, without a label, on whichever trunk there is:
  python pyscripts/train/train_stego.py --images my_photos/ --num_classes 12 \
    --backbone mobilenet_v2 --restore_from mobilenet_v2.weights.h5 --snapshot_dir snapshots/photos

Features and neighbours are computed first, once, and kept in --cache_dir. Weights and shifts of the
presets are for their trunks; for another look at the similarities' histograms in TensorBoard.
"""

import train_frozen  # also puts the project's root on the path

from utils.command_line import run


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_frozen.main(arguments, 'stego', __doc__)


if __name__ == '__main__':
  run(main)
