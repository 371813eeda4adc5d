"""Trains SegSort on images with masks; flags and files are the original's.

  python pyscripts/train/train_segsort.py --data_dir VOC2012/ --data_list VOC2012/lists/train+.txt \
    --snapshot_dir snapshots/voc12 --restore_from snapshots/imagenet/trained/resnet_v1_101.ckpt \
    --batch_size 8 --input_size 336,336 --random_mirror --random_scale --random_crop
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import experiment  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None, method='segsort', description=__doc__, defaults=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  experiment.add_training_arguments(parser, method, defaults)
  return experiment.train_from_arguments(method, parser.parse_args(arguments), defaults)


if __name__ == '__main__':
  run(main)
