"""Writes the lists and masks that training on PASCAL VOC 2012 with SBD needs.

  python pyscripts/data/prepare_voc12.py --voc_dir VOCdevkit/VOC2012 \
    --sbd_dir benchmark_RELEASE/dataset

VOC2012/README.md says where the two archives are to be had and what is written.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from seg_models import voc12  # noqa: E402
from seg_models.datasets import DATASETS  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), prepares, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--voc_dir', required=True, help='the unpacked VOCdevkit/VOC2012')
  parser.add_argument('--sbd_dir', help='the unpacked benchmark_RELEASE/dataset; without it there '
                      'is no train+')
  parser.add_argument('--output_dir', default=ROOT / 'VOC2012',
                      help="default: the project's VOC2012/")
  parser.add_argument('--any_number', action='store_true',
                      help='take incomplete data sets too (the official numbers are checked)')
  args = parser.parse_args(arguments)
  counts = voc12.prepare(args.voc_dir, args.sbd_dir, args.output_dir,
                         {} if args.any_number else DATASETS['voc12'].splits)
  for split, count in counts.items():
    print(f'{args.output_dir}/lists/{split}.txt: {count} images')
  if args.sbd_dir is None:
    print('train+.txt is not written: it needs SBD (--sbd_dir)')
  return 0


if __name__ == '__main__':
  run(main)
