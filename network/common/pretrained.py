"""Foreign weights onto the networks of this house, by explicit tables of names.

Arrays in, report out; reading files is utils/checkpoints.py's.
"""

import dataclasses
import re

import numpy as np

from network.common.preprocessing import MEAN_RGB


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of every variable of a network and of every array of a file.

  Attributes:
    loaded: names of variables that got an array.
    missing: names of variables for which the file has none; they keep their initial values.
    skipped: names of arrays that no variable wanted.
    left: names of variables that were left alone on request.
    training: names of arrays that a training run keeps beside its network.
  """
  loaded: tuple[str, ...]
  missing: tuple[str, ...]
  skipped: tuple[str, ...]
  left: tuple[str, ...] = ()
  training: tuple[str, ...] = ()

  def summary(self):
    """A few lines for a person: counts, and names where they are news."""
    lines = [f'{len(self.loaded)} variables loaded']
    for title, names in (('missing in the file, initialised anew', self.missing),
                         ('left as initialised on request', self.left),
                         ('in the file but not in the network, skipped', self.skipped),
                         ('of a training run (momentum, memory, step), not used', self.training)):
      if names:
        lines.append(f'{len(names)} {title}: {_abbreviated(names)}')
    return '\n'.join(lines)


def _abbreviated(names, count=8):
  return ', '.join(names[:count]) + (f', ... ({len(names) - count} more)' if len(names) > count
                                     else '')


# Per-channel means of Keras Applications' ResNets ('caffe' preprocessing), here in RGB order.
KERAS_RESNET_MEAN_RGB = (123.68, 116.779, 103.939)
KERAS_RESNET_EPSILON = 1.001e-5
_KERAS_UNIT = re.compile(r'conv([2-5])_block(\d+)_([0-3])_(conv|bn)')
_UNIT_LAYERS = ('shortcut', 'conv1', 'conv2', 'conv3')


def is_keras_resnet(names):
  """Whether the names of a Keras weight file are those of ResNet50, 101 or 152."""
  return {'conv1_conv/kernel', 'conv1_bn/gamma', 'conv2_block1_1_conv/kernel'} <= set(names)


class KerasResNet:
  """The arrays of Keras Applications' ResNet50, 101 or 152 as those of `resnet_v1`.

  The two are the same function: Keras' stride in the first 1x1 convolutions of a block keeps the
  cells that `resnet_v1`'s stride in the 3x3 convolution of the unit before computes. What differs
  is converted: the convolutions' biases move into the moving means; conv1 takes RGB, not BGR; and
  the other mean that is subtracted from its input becomes a bias of it (exact but for the three
  outermost pixels, where zero padding is one or the other mean colour).

  Args:
    arrays: an object with `names()`, `shape(name)` and `read(name)`.
    scope: of the network in variable names.
    mean_rgb: what Keras' network has subtracted from its images.
  """

  def __init__(self, arrays, scope, mean_rgb=KERAS_RESNET_MEAN_RGB):
    self._arrays = arrays
    # conv(image - mean) = conv(image - MEAN_RGB) + conv(shift)
    self._shift = np.subtract(MEAN_RGB, mean_rgb)
    self._sources = {}
    for name in arrays.names():
      layer, _, part = name.rpartition('/')
      match = _KERAS_UNIT.fullmatch(layer)
      if match:
        block, unit, index, kind = match.groups()
        place = (f'{scope}/block{int(block) - 1}/unit_{unit}/bottleneck_v1/'
                 f'{_UNIT_LAYERS[int(index)]}')
      elif layer in ('conv1_conv', 'conv1_bn'):
        place, kind = f'{scope}/conv1', layer.removeprefix('conv1_')
      else:
        place, kind = layer, None
      if kind == 'bn':
        self._sources[f'{place}/BatchNorm/{part}'] = name
      elif kind == 'conv' and part == 'kernel':
        self._sources[f'{place}/weights'] = name
      elif kind is None:
        self._sources[f'{place}/{part}'] = name

  def names(self):
    return list(self._sources)

  def shape(self, name):
    return self._arrays.shape(self._sources[name])

  def read(self, name):
    source = self._sources[name]
    value = np.asarray(self._arrays.read(source))
    if source == 'conv1_conv/kernel':
      return value[:, :, ::-1]
    if source.endswith('_bn/moving_mean'):
      layer = source.removesuffix('_bn/moving_mean') + '_conv'
      value = value - self._arrays.read(f'{layer}/bias')
      if layer == 'conv1_conv':
        kernel = np.asarray(self._arrays.read('conv1_conv/kernel'), np.float64)
        value = value - np.einsum('hwio,i->o', kernel, self._shift[::-1])
    return value.astype(np.float32)


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
