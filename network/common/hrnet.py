"""HRNet: branches of strides 4 to 32 side by side, which exchange what they see again and again.

Source: Wang et al., Deep High-Resolution Representation Learning, TPAMI 2020 (HRNetV2).
"""

import keras

from network.common.layers import EnlargeLike, conv
from network.common.preprocessing import MEAN_RGB

# Channels of the branch of stride 4; each further branch has twice as many.
CHANNELS = {'hrnet_w18': 18, 'hrnet_w32': 32, 'hrnet_w48': 48}
OUTPUT_STRIDE = 4
# Modules, and so exchanges, of stages 2 to 4, which have as many branches as their number.
_MODULES = {2: 1, 3: 4, 4: 3}
_UNITS = 4
# What the published weights were trained with: images in [0, 1] minus a mean, over a deviation.
_MEAN_RGB = (0.485, 0.456, 0.406)
_DEVIATION_RGB = (0.229, 0.224, 0.225)


def _scaled(value, width):
  return max(1, int(round(value * width)))


def branch_channels(backbone, width=1.0):
  """Channels of the four branches at a factor of all channels."""
  return tuple(_scaled(CHANNELS[backbone] * 2 ** branch, width) for branch in range(4))


def output_channels(backbone, width=1.0):
  """Channels of the concatenation of all branches, 15 times those of the first: W48 has 720."""
  return sum(branch_channels(backbone, width))


def hrnet(images, scope, channels, options, *, width=1.0):
  """Builds the trunk: a stem, a stage of bottleneck units, three stages of branches.

  Args:
    images: Keras tensor [B, H, W, 3], RGB minus `preprocessing.MEAN_RGB`; rescaled here to what
      the published ImageNet weights were trained with.
    scope: name of the network in variable names, `hrnet_w48` say.
    channels: of the four branches, from `branch_channels`.
    options: `layers.LayerOptions`.
    width: factor of the stem's and the first stage's channels.

  Returns:
    dict of Keras tensors, all at stride 4: 'low_level' (the first stage's, 256 channels times
    width) and 'output' and 'auxiliary' (the same tensor, `sum(channels)`): the four branches'
    maps enlarged and side by side.

  Deviates from the original: maps are enlarged by whole factors, so that cells stay on the pixels
  that they were computed from (`layers.enlarge`). The published segmentation networks align the
  corners, which is the same where H and W are 32 n + 1 and shifts cells by less than one
  otherwise; the published ImageNet classifiers repeat cells.
  """
  x = keras.layers.Rescaling(
      [1 / (255 * deviation) for deviation in _DEVIATION_RGB],
      [(centre / 255 - mean) / deviation
       for centre, mean, deviation in zip(MEAN_RGB, _MEAN_RGB, _DEVIATION_RGB, strict=True)],
      dtype=options.dtype)(images)
  base = _scaled(64, width)
  for index in (1, 2):
    x = conv(x, base, 3, f'{scope}.conv{index}', options, stride=2)
  for unit in range(1, _UNITS + 1):
    x = _bottleneck(x, base, f'{scope}.stage1.unit_{unit}.bottleneck', options)
  low_level, branches = x, [x]
  for stage, modules in _MODULES.items():
    branches = transition(branches, channels[:stage], f'{scope}.transition{stage - 1}', options)
    for module in range(1, modules + 1):
      name = f'{scope}.stage{stage}.module_{module}'
      branches = [_units(branch, f'{name}.branch_{index}', options)
                  for index, branch in enumerate(branches, start=1)]
      branches = exchange(branches, name, options)
  x = keras.layers.Concatenate(dtype=options.dtype)([
      _enlarged(branch, 2 ** index, branches[0], options) for index, branch in enumerate(branches)])
  return {'low_level': low_level, 'output': x, 'auxiliary': x}


def transition(branches, channels, name, options):
  """Gives each branch of a stage its number of channels, and makes the new, coarsest one.

  The branch that a stage adds is a 3x3 convolution of stride 2 of the coarsest before it; a
  branch that has its channels already goes on as it is.

  Args:
    branches: Keras tensors of strides 4, 8, ...
    channels: of the branches wanted, one more than there are.
    name: scope of the convolutions, `<name>.branch_<number>`.
    options: `layers.LayerOptions`.

  Returns:
    As many Keras tensors as `channels`.
  """
  wanted = []
  for index, filters in enumerate(channels):
    if index < len(branches) and branches[index].shape[-1] == filters:
      wanted.append(branches[index])
      continue
    stride = 2 if index == len(branches) else 1
    source = branches[min(index, len(branches) - 1)]
    wanted.append(
        conv(source, filters, 3, f'{name}.branch_{index + 1}', options, stride=stride))
  return wanted


def exchange(branches, name, options):
  """Adds to each branch what all others see, at its own stride and number of channels; then ReLU.

  From a finer branch it goes through 3x3 convolutions of stride 2 (a ReLU behind all but the
  last), `<name>.fuse_<from>_to_<to>.conv<k>`; from a coarser one through a 1x1 convolution,
  `<name>.fuse_<from>_to_<to>`, and is enlarged.

  Args:
    branches: Keras tensors of strides 4, 8, ...
    name: scope of the convolutions.
    options: `layers.LayerOptions`.

  Returns:
    Keras tensors of the branches' shapes.
  """
  def seen(source, target):
    x, filters = branches[source], branches[target].shape[-1]
    place = f'{name}.fuse_{source + 1}_to_{target + 1}'
    if source > target:
      x = conv(x, filters, 1, place, options, activation=False)
      return _enlarged(x, 2 ** (source - target), branches[target], options)
    for step in range(1, target - source + 1):
      last = step == target - source
      x = conv(x, filters if last else x.shape[-1], 3, f'{place}.conv{step}', options, stride=2,
               activation=not last)
    return x

  numbers = range(len(branches))
  sums = [keras.layers.Add(dtype=options.dtype)([seen(source, target) for source in numbers])
          for target in numbers]
  return [keras.layers.Activation('relu', dtype=options.dtype)(x) for x in sums]


def _enlarged(x, factor, like, options):
  return EnlargeLike(factor, dtype=options.dtype)([x, like]) if factor > 1 else x


def _units(x, name, options):
  """A branch of one module: basic residual units, two 3x3 convolutions each."""
  for unit in range(1, _UNITS + 1):
    place = f'{name}.unit_{unit}'
    residual = conv(x, x.shape[-1], 3, f'{place}.conv1', options)
    residual = conv(residual, x.shape[-1], 3, f'{place}.conv2', options, activation=False)
    x = _joined(x, residual, options)
  return x


def _bottleneck(x, base, name, options):
  depth, shortcut = 4 * base, x
  if x.shape[-1] != depth:
    shortcut = conv(x, depth, 1, f'{name}.shortcut', options, activation=False)
  residual = conv(x, base, 1, f'{name}.conv1', options)
  residual = conv(residual, base, 3, f'{name}.conv2', options)
  residual = conv(residual, depth, 1, f'{name}.conv3', options, activation=False)
  return _joined(shortcut, residual, options)


def _joined(shortcut, residual, options):
  x = keras.layers.Add(dtype=options.dtype)([shortcut, residual])
  return keras.layers.Activation('relu', dtype=options.dtype)(x)
