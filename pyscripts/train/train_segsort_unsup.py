"""Trains SegSort without labels, on oversegmentations; flags and files are the original's.

  python pyscripts/train/train_segsort_unsup.py --data_dir VOC2012/ \
    --data_list VOC2012/lists/train+.txt --oversegmentation_dir VOC2012/hed \
    --restore_from snapshots/imagenet/trained/resnet_v1_101.ckpt \
    --snapshot_dir snapshots/voc12/unsup

No label is read. The oversegmentations are the list's third column, --oversegmentation_dir's
<id>.png, or the masks' paths with `segcls` replaced by `hed`.
"""

import train_segsort  # also puts the project's root on the path

from utils.command_line import run

DEFAULTS = {'learning_rate': 2.5e-4}  # the original script's


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_segsort.main(arguments, 'segsort_unsup', __doc__, DEFAULTS)


if __name__ == '__main__':
  run(main)
