"""Turns the .mat tiles of Potsdam-3 into images, masks and lists.

  python pyscripts/data/prepare_potsdam.py --source_dir potsdam/ --output_dir data/potsdam

The archive is the one that unsupervised segmentation is compared on since IIC and STEGO: tiles of
200x200 pixels, labelled_train.txt and labelled_test.txt. Train with --dataset potsdam3.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import potsdam  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), prepares, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--source_dir', required=True, help='folder of the unpacked archive')
  parser.add_argument('--output_dir', required=True, help='gets images/, masks/ and the lists')
  args = parser.parse_args(arguments)
  for split, count in potsdam.prepare(args.source_dir, args.output_dir).items():
    print(f'{args.output_dir}/{split}.txt: {count} images')
  return 0


if __name__ == '__main__':
  run(main)
