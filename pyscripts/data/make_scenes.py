"""Draws the labelled scenes of the demo, in the layout of VOC; a second call reuses them.

  python pyscripts/data/make_scenes.py --output_dir snapshots/demo/scenes
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from utils import scenes  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), draws, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--output_dir', required=True, help='folder to be made')
  parser.add_argument('--seed', type=int, default=0, help='other scenes (default: 0)')
  parser.add_argument('--train', type=int, default=120, help='training scenes (default: 120)')
  parser.add_argument('--val', type=int, default=40, help='validation scenes (default: 40)')
  args = parser.parse_args(arguments)
  drawn = scenes.write_scenes(args.output_dir, args.seed, args.train, args.val)
  print(f'{args.train} + {args.val} scenes {"drawn" if drawn else "are there already"}: '
        f'{args.output_dir}')
  return 0


if __name__ == '__main__':
  run(main)
