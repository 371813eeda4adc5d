"""DeepLab v2, v3 and v3+: atrous spatial pyramid pooling (ASPP).

Sources: Chen et al., TPAMI 2018 (v2), arXiv 1706.05587 (v3), ECCV 2018 (v3+); specs/segsort.md,
section 1.5. All heads take arguments and give results as `pspnet.pspnet`.
"""

import keras

from network.common.layers import AdaptiveAveragePool, ResizeLike, conv

RATES_V2 = (6, 12, 18, 24)
# At output stride 16; twice as much at stride 8, so that they mean the same pixels.
RATES_V3 = (6, 12, 18)
LOW_LEVEL_DIM = 48


def deeplab(features, scope, config, options):
  """DeepLab v2: the sum of four biased 3x3 convolutions, `<scope>/fc1_c{0..3}`, no batch norm.

  Deviates from the original: the learning rate of these variables is that of a head (x10), as in
  the paper; the original's test for 'block5' in the name misses them.
  """
  branches = [
      conv(features['output'], config.output_dim, 3, f'{scope}.fc1_c{index}', options, rate=rate,
           norm=False, activation=False)
      for index, rate in enumerate(RATES_V2)]
  return keras.layers.Add(dtype=options.dtype)(branches)


def deeplab_v3(features, scope, config, options):
  """DeepLab v3: `aspp`, then a 1x1 convolution."""
  x = aspp(features['output'], scope, config, options)
  return _classifier(x, scope, config, options)


def deeplab_v3plus(features, scope, config, options):
  """DeepLab v3+: `aspp` refined with the backbone's features of stride 4.

  Returns:
    Keras tensor [B, ceil(H / 4), ceil(W / 4), config.output_dim], H x W being the image's size.
  """
  block = f'{scope}.block5'
  low_level = conv(features['low_level'], LOW_LEVEL_DIM, 1, f'{block}.low_level', options)
  x = aspp(features['output'], scope, config, options)
  x = ResizeLike(dtype=options.dtype)([x, low_level])
  x = keras.layers.Concatenate(dtype=options.dtype)([x, low_level])
  for index in (1, 2):
    x = conv(x, config.head_dim, 3, f'{block}.decoder{index}', options)
  return _classifier(x, scope, config, options)


def aspp(x, scope, config, options):
  """A 1x1, three atrous 3x3 convolutions and the image's mean side by side, joined by a 1x1.

  Args:
    x: Keras tensor [B, h, w, C].
    scope, config, options: as the heads'; config.head_dim is the width of every branch.

  Returns:
    Keras tensor [B, h, w, config.head_dim].
  """
  block, dim = f'{scope}.block5', config.head_dim
  branches = [conv(x, dim, 1, f'{block}.aspp0', options)]
  for index, rate in enumerate(RATES_V3, start=1):
    rate = max(1, rate * 16 // config.output_stride)
    branches.append(conv(x, dim, 3, f'{block}.aspp{index}', options, rate=rate))
  pooled = AdaptiveAveragePool(1, dtype=options.dtype)(x)
  pooled = conv(pooled, dim, 1, f'{block}.image_pool', options)
  branches.append(ResizeLike(dtype=options.dtype)([pooled, x]))
  x = keras.layers.Concatenate(dtype=options.dtype)(branches)
  return conv(x, dim, 1, f'{block}.projection', options)


def _classifier(x, scope, config, options):
  return conv(
      x, config.output_dim, 1, f'{scope}.block5.fc1_voc12', options, norm=False, activation=False)
