"""Trains SegSort on several GPUs: train_segsort.py under MirroredStrategy.

Deviates from the original: all of --num_gpu devices run the network (the original kept the last one
for the loss), and prototypes are gathered over them, so that n devices compute what one would.
--batch_size counts the images of all devices.
"""

import train_segsort  # also puts the project's root on the path

from utils.command_line import run

DEFAULTS = {'num_gpu': 2, 'learning_rate': 2.5e-4}  # the original script's


def main():
  """Parses the command line, trains, and returns the exit status."""
  return train_segsort.main('segsort', __doc__, DEFAULTS)


if __name__ == '__main__':
  run(main)
