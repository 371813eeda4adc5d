"""Predicts by a head on frozen features (STEGO, SmooSeg, dino_kmeans, dino_linear), and scores.

Any folder of images, no label needed: pictures, and a gallery of what each cluster is:
  python pyscripts/inference/inference_clusters.py --restore_from snapshots/stego \
    --images my_photos/ --save_dir snapshots/stego/photos
A list with masks: clusters are matched to classes for the score (Hungarian), --middle centre is
the publications' protocol, with --crf as in their tables:
  python pyscripts/inference/inference_clusters.py --restore_from snapshots/stego \
    --data_dir cocostuff/ --data_list cocostuff/val.txt --middle centre --save_dir snapshots/val

--num_gpu, --workers with --task, or --shard share the list among processes, as with the other
scripts; whoever finds all images done scores the whole list.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.frozen.inference import ClusterConfig, predict_clusters  # noqa: E402
from seg_models.inference import run_from_arguments  # noqa: E402
from utils.command_line import run  # noqa: E402
from utils.dense_crf import DenseCRFConfig  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), predicts, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  return run_from_arguments(
      predict_clusters, parser, (ClusterConfig, DenseCRFConfig), arguments)


if __name__ == '__main__':
  run(main)
