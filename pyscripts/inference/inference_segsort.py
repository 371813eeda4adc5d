"""Labels images by the nearest prototypes of their segments; flags and files are the original's.

  python pyscripts/inference/inference_segsort.py --data_dir VOC2012/ \
    --data_list VOC2012/lists/val.txt --restore_from snapshots/voc12/model.ckpt-30000 \
    --prototype_dir snapshots/voc12/results/train/prototypes --save_dir snapshots/voc12/results/val

Without any label: --no_bank in the place of --prototype_dir cuts images into segments and paints
their embeddings, --cluster_classes N groups the segments of all images into N pseudo-classes.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import label_free  # noqa: E402
from seg_models.inference import run_from_arguments  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(description=__doc__, defaults=None, arguments=None):
  """Parses the command line (or `arguments`), labels the images, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  return run_from_arguments(
      label_free.predict_segsort, parser, label_free.SEGSORT, arguments, defaults)


if __name__ == '__main__':
  run(main)
