"""Trains a softmax network with pixel contrast: cross-entropy, and features sorted by class.

  python pyscripts/train/train_contrast.py --data_dir VOC2012/ \
    --data_list VOC2012/lists/train+.txt --snapshot_dir snapshots/voc12_contrast \
    --restore_from resnet_v1_101.ckpt --model deeplab_v3_resnet101 --batch_size 8 \
    --num_steps 40000 --warmup_steps 5000

With --contrast_weight 0 it is the baseline, on the same path. inference.py runs the network without
its projection head; extract_prototypes.py --embedding projection gives its prototypes.
"""

import train_segsort  # also puts the project's root on the path

from utils.command_line import run


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_segsort.main(arguments, 'contrast', __doc__)


if __name__ == '__main__':
  run(main)
