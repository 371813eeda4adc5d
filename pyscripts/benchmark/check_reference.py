"""Compares this implementation with stored outputs of the original one.

  python pyscripts/benchmark/check_reference.py segsort FILE.npz
  python pyscripts/benchmark/check_reference.py contrast FILE.npz
  python pyscripts/benchmark/check_reference.py dino_vit FILE.npz
  python pyscripts/benchmark/check_reference.py stego FILE.npz
  python pyscripts/benchmark/check_reference.py smooseg FILE.npz
  python pyscripts/benchmark/check_reference.py network FILE.npz --model pspnet_resnet101

Prints each quantity with its largest error; the last line is `N compared, F out of tolerance,
M not compared: names`. The status is 1 when a quantity is out of tolerance or none was compared.
"""

import argparse
import pathlib
import sys
import zipfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.reference import compare_segsort  # noqa: E402
from seg_models.reference_contrast import compare_contrast  # noqa: E402
from seg_models.reference_smooseg import compare_smooseg  # noqa: E402
from seg_models.reference_stego import compare_stego  # noqa: E402
from seg_models.reference_vit import compare_vit  # noqa: E402
from utils import command_line  # noqa: E402

# Format of a file -> (comparisons, what is not compared) from its arrays.
FORMATS = {
    'segsort': compare_segsort, 'contrast': compare_contrast, 'dino_vit': compare_vit,
    'stego': compare_stego, 'smooseg': compare_smooseg}


def parse(arguments=None):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument(
      'what', choices=(*FORMATS, 'network'), help='the format of the file')
  parser.add_argument('file', help='such as segsort.npz, contrast.npz or pspnet_resnet101_240.npz')
  parser.add_argument('--model', help='network only: the model that the file is of')
  arguments = parser.parse_args(arguments)
  if (arguments.what == 'network') != (arguments.model is not None):
    parser.error('--model NAME belongs to `network`, and only to it')
  return arguments


def load(path):
  """The arrays of an .npz file."""
  try:
    # np.load leaves a file that it opened itself open when it cannot read it.
    with open(path, 'rb') as stream, np.load(stream, allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is not an .npz file of plain arrays: {error}') from error


def report(comparisons, not_compared):
  """Prints the comparisons and what was left out; returns the status."""
  for entry in comparisons:
    verdict = 'ok' if entry.ok else 'OUT OF TOLERANCE'
    print(f'{entry.name:32} largest error {entry.error:9.3g}  tolerance {entry.tolerance:7.1g}  '
          f'{verdict}')
  for name, reason in not_compared.items():
    print(f'{name:32} not compared: {reason}')
  failed = sum(not entry.ok for entry in comparisons)
  print(f'{len(comparisons)} compared, {failed} out of tolerance, '
        f'{len(not_compared)} not compared: {", ".join(not_compared)}')
  return 1 if failed or not comparisons else 0


def main(arguments=None):
  arguments = parse(arguments)
  arrays = load(arguments.file)
  if arguments.what in FORMATS:
    return report(*FORMATS[arguments.what](arrays))
  from seg_models.reference_network import INPUTS, compare_network  # builds all of the networks

  comparisons = compare_network(arrays, arguments.model)
  known = {entry.name for entry in comparisons} | set(INPUTS)
  return report(comparisons, {name: 'not known' for name in arrays if name not in known})


if __name__ == '__main__':
  command_line.run(main)
