"""inference_segsort.py at several scales, mirrored too; with --windows segments are cut per window.

Deviates from the original: mirror images and scales are the default (--no-flip_aug, --no-scale_aug
leave them out), and each whole scaled image is clustered at once unless --windows is given.
"""

import inference_segsort  # also puts the project's root on the path

from utils.command_line import run

DEFAULTS = {'flip_aug': True, 'scale_aug': True}


def main(arguments=None):
  """Parses the command line (or `arguments`), labels the images, and returns the exit status."""
  return inference_segsort.main(__doc__, DEFAULTS, arguments)


if __name__ == '__main__':
  run(main)
