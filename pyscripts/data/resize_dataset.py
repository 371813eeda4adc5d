"""Copies a list's images and masks at another scale; a second call completes an interrupted one.

  python pyscripts/data/resize_dataset.py --data_dir CamVid --data_list CamVid/train.txt \
    --dataset camvid --scale 0.5 --output_dir snapshots/camvid/data
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.datasets import dataset_for  # noqa: E402
from seg_models.resized_copy import write_resized_copy  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), copies, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--data_list', required=True, help='list file with lines `image mask`')
  parser.add_argument('--data_dir', required=True, help='folder that its paths are relative to')
  parser.add_argument('--output_dir', required=True, help='folder of the copy and its lists')
  parser.add_argument('--scale', type=float, required=True, help='factor of height and width')
  parser.add_argument('--dataset', help="descriptor (seg_models/datasets.py); default: VOC's")
  parser.add_argument('--num_classes', type=int, help="default: 21, or the data set's")
  parser.add_argument('--ignore_label', type=int, help="default: 255, or the data set's")
  args = parser.parse_args(arguments)
  dataset = dataset_for(args.dataset, args.num_classes, args.ignore_label)
  written, kept = write_resized_copy(
      args.data_list, args.data_dir, args.output_dir, args.scale, dataset)
  print(f'{args.output_dir}: {written} images written at scale {args.scale}, {kept} there already')
  return 0


if __name__ == '__main__':
  run(main)
