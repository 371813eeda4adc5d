"""Trains the baseline: the same network, crops and schedule with softmax cross-entropy."""

import train_segsort  # also puts the project's root on the path

from utils.command_line import run


def main(arguments=None):
  """Parses the command line (or `arguments`), trains, and returns the exit status."""
  return train_segsort.main(arguments, 'softmax', __doc__)


if __name__ == '__main__':
  run(main)
