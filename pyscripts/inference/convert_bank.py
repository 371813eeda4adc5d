"""Writes a bank with fewer bits (--bank_storage), or with an index for large ones (--index).

  python pyscripts/inference/convert_bank.py --prototype_dir snapshots/voc12/results/train \
    --save_dir snapshots/voc12/results/train_int8 --bank_storage int8

inference_segsort.py takes the new folder as its --prototype_dir; --search ivf makes use of the
index. benchmark_bank.py tells what either loses.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.bank_conversion import ConversionConfig, convert  # noqa: E402
from utils.command_line import run  # noqa: E402
from utils.configuration import add_arguments, from_arguments  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), converts, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  add_arguments(parser, ConversionConfig)
  return convert(from_arguments(ConversionConfig, parser.parse_args(arguments)))


if __name__ == '__main__':
  run(main)
