"""Writes train.txt and val.txt of COCO-Stuff 164k or Cityscapes as they are unpacked.

  python pyscripts/data/prepare_lists.py cityscapes --data_dir cityscapes/
  python pyscripts/data/prepare_lists.py coco_stuff --data_dir cocostuff/ --curated curated/

Train and infer with the same --data_dir, and --dataset cityscapes, cityscapes27, coco_stuff or
coco_stuff27; the numbers on 27 classes of COCO-Stuff are of the curated part.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import official_lists  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), writes, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('what', choices=('coco_stuff', 'cityscapes'))
  parser.add_argument('--data_dir', required=True, help='where the archives were unpacked')
  parser.add_argument('--output_dir', help='folder of the lists; default: --data_dir')
  parser.add_argument('--curated', help="coco_stuff only: folder of the publications' lists of "
                      'ids; without it all images are listed')
  args = parser.parse_args(arguments)
  output_dir = args.output_dir or args.data_dir
  if args.what == 'coco_stuff':
    counts = official_lists.coco_stuff(args.data_dir, output_dir, args.curated)
  elif args.curated:
    parser.error('--curated belongs to coco_stuff')
  else:
    counts = official_lists.cityscapes(args.data_dir, output_dir)
  for split, count in counts.items():
    print(f'{output_dir}/{split}.txt: {count} images')
  return 0


if __name__ == '__main__':
  run(main)
