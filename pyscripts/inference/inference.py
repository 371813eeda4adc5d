"""Labels images by a softmax network; flags, with dashes or underscores, are the original's.

  python pyscripts/inference/inference.py --data-dir VOC2012/ --data-list VOC2012/lists/val.txt \
    --restore-from snapshots/voc12_softmax/model.ckpt-30000 --save-dir snapshots/voc12_softmax/val
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import inference  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(description=__doc__, defaults=None, arguments=None):
  """Parses the command line (or `arguments`), labels the images, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  return inference.run_from_arguments(
      inference.predict_softmax, parser, inference.SOFTMAX, arguments, defaults)


if __name__ == '__main__':
  run(main)
