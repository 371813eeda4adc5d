"""Foreign weights onto the networks of this house, by explicit tables of names.

Arrays in, report out; reading files is utils/checkpoints.py's.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of every variable of a network and of every array of a file.

  Attributes:
    loaded: names of variables that got an array.
    missing: names of variables for which the file has none; they keep their initial values.
    skipped: names of arrays that no variable wanted.
    left: names of variables that were left alone on request.
  """
  loaded: tuple[str, ...]
  missing: tuple[str, ...]
  skipped: tuple[str, ...]
  left: tuple[str, ...] = ()

  def summary(self):
    """A few lines for a person: counts, and names where they are news."""
    lines = [f'{len(self.loaded)} variables loaded']
    for title, names in (('missing in the file, initialised anew', self.missing),
                         ('left as initialised on request', self.left),
                         ('in the file but not in the network, skipped', self.skipped)):
      if names:
        lines.append(f'{len(names)} {title}: {_abbreviated(names)}')
    return '\n'.join(lines)


def _abbreviated(names, count=8):
  return ', '.join(names[:count]) + (f', ... ({len(names) - count} more)' if len(names) > count
                                     else '')


def keras_mobilenet_v2_name(name):
  """Name in Keras Applications' weight files of a trunk variable of `mobilenet_v2`.

  `mobilenet_v2/block_1_expand/weights` is `block_1_expand/kernel` there, and so on.
  """
  layer, _, part = name.removeprefix('mobilenet_v2/').rpartition('/')
  return f'{layer}/{"kernel" if part == "weights" else part}'


def assign(variables, arrays, names=None, leave=()):
  """Assigns arrays to variables by name.

  Args:
    variables: name -> variable of the network.
    arrays: an object with `names()`, `shape(name)` and `read(name)` (utils/checkpoints.Archive).
    names: name of a variable -> name of its array; the same where None.
    leave: names of variables that keep their initial values.

  Returns:
    `Report`.

  Raises:
    ValueError: shapes differ, or an array is not finite; nothing has been assigned then.
  """
  there = set(arrays.names())
  wanted = {name: names(name) if names else name for name in variables if name not in set(leave)}
  found = {name: source for name, source in wanted.items() if source in there}
  differing = [
      f'{name} is {tuple(variables[name].shape)}, {source} there {tuple(arrays.shape(source))}'
      for name, source in found.items()
      if tuple(variables[name].shape) != tuple(arrays.shape(source))]
  if differing:
    raise ValueError(f'{len(differing)} of {len(found)} arrays have another shape: '
                     f'{_abbreviated(differing, 3)}')
  values = {name: np.asarray(arrays.read(source)) for name, source in found.items()}
  wrong = [found[name] for name, value in values.items() if not np.isfinite(value).all()]
  if wrong:
    raise ValueError(f'NaN or infinity in {_abbreviated(wrong)}')
  for name, value in values.items():
    variables[name].assign(value)
  return Report(
      loaded=tuple(found), missing=tuple(name for name in wanted if name not in found),
      skipped=tuple(sorted(there - set(found.values()))), left=tuple(leave))
