"""Extracts the labelled prototypes of a list's images; flags and files are the original's.

  python pyscripts/inference/extract_prototypes.py --data_dir VOC2012/ \
    --data_list VOC2012/lists/train.txt --restore_from snapshots/voc12/model.ckpt-30000 \
    --save_dir snapshots/voc12/results/train
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import inference  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), extracts, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  return inference.run_from_arguments(
      inference.extract, parser, inference.EXTRACTION, arguments)


if __name__ == '__main__':
  run(main)
