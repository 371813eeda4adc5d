"""Preprocessing and neighbours compared with stored outputs of STEGO's original implementation.

The quantities `resize/*` and `knn/*` of stego.npz, and of cases of the same form by other names.
"""

import numpy as np

from seg_models.frozen.geometry import Geometry
from seg_models.frozen.neighbours import neighbours_of, unit_means
from utils.comparison import Comparison, mismatches, relative_error

INPUTS = ('img', 'res', 'patch_feats')
_TOLERANCE = 1e-6


def compare_frozen(arrays):
  """Compares whatever a file has of cases with an `img` or with `patch_feats`.

  Args:
    arrays: mapping of `<case>/<quantity>` to arrays, maps as [B, C, h, w]; other names are passed
      over.

  Returns:
    comparisons: list of `Comparison`, in the order of the file.
    inputs: set of names that were made use of.
  """
  cases = {}
  for name, value in arrays.items():
    case, _, quantity = name.rpartition('/')
    cases.setdefault(case, {})[quantity] = np.asarray(value)
  comparisons, inputs = [], set()
  for case, values in cases.items():
    compute = _resized if 'img' in values else _neighbours if 'patch_feats' in values else None
    if compute is not None:
      comparisons += [Comparison(f'{case}/{entry.name}', entry.error, entry.tolerance)
                      for entry in compute(values)]
      inputs |= {f'{case}/{name}' for name in INPUTS if name in values}
  return comparisons, inputs


def _resized(values):
  for name, middle in (('resized', 'none'), ('cropped', 'centre')):
    if name in values:
      geometry = Geometry(int(values['res']), middle, 'nearest')
      yield Comparison(name, mismatches(geometry.image(values['img']), values[name]), 0)


def _neighbours(values):
  """The original lists each image itself first, which is left out here."""
  unit = unit_means(values['patch_feats'].mean((2, 3)))
  for name, expected in values.items():
    if name.startswith('normed'):
      yield Comparison(name, relative_error(unit, expected), _TOLERANCE)
    elif name == 'nns':
      found = neighbours_of(unit, 0, len(unit), expected.shape[1] - 1)
      yield Comparison(name, mismatches(found, expected[:, 1:]), 0)
