"""Trains a method on the features of a trunk that stays as it is; most need no label.

  python pyscripts/train/train_frozen.py dino_kmeans --backbone mobilenet_v2 \
    --restore_from mobilenet_v2.weights.h5 --images my_photos/ --num_classes 12 \
    --snapshot_dir snapshots/kmeans --num_steps 1
  python pyscripts/train/train_frozen.py dino_linear --backbone mobilenet_v2 \
    --restore_from mobilenet_v2.weights.h5 --data_dir camvid/ --data_list camvid/train.txt \
    --dataset camvid --snapshot_dir snapshots/linear

Features and neighbours are computed first, once, and kept in --cache_dir. train_stego.py and
train_smooseg.py are this script for their methods; inference_clusters.py predicts and scores.

--num_gpu and --workers train on several devices and hosts what one would. Where hosts share images
and --cache_dir the first computes features while the others wait; otherwise each computes its own,
and may be --worker_timeout later than another.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.frozen.methods import FROZEN_METHODS  # noqa: E402
from seg_models.frozen.run import add_training_arguments, train_from_arguments  # noqa: E402
from utils.command_line import run  # noqa: E402


def main(arguments=None, method=None, description=__doc__):
  """Parses the command line (or `arguments`), trains, and returns the exit status.

  Without `method` the first argument names it.
  """
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  parser = argparse.ArgumentParser(
      description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  if method is None:
    parser.add_argument('method', choices=FROZEN_METHODS)
    method = next((name for name in arguments[:1] if name in FROZEN_METHODS), 'dino_kmeans')
  add_training_arguments(parser, method)
  namespace = parser.parse_args(arguments)
  if getattr(namespace, 'method', method) != method:  # flags before it were those of another one
    parser.error(f'{namespace.method}: the method has to be the first argument')
  return train_from_arguments(method, namespace)


if __name__ == '__main__':
  run(main)
