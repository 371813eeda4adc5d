"""Trains SegSort on several GPUs: train_segsort.py under MirroredStrategy.

Deviates from the original: all of --num_gpu devices run the network (the original kept the last one
for the loss), or as many as divide --batch_size, which counts the images of all devices.
Prototypes are gathered over them, so that n devices compute what one would.
"""

import train_segsort  # also puts the project's root on the path

from utils.command_line import run

DEFAULTS = {'num_gpu': 2, 'learning_rate': 2.5e-4}  # the original script's


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_segsort.main(arguments, 'segsort', __doc__, DEFAULTS)


if __name__ == '__main__':
  run(main)
