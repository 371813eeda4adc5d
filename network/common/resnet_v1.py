"""ResNet v1 with the original's strides, dilations, padding and variable names.

Source: He et al., CVPR 2016; specs/segsort.md, section 2.
"""

import keras

from network.common.layers import conv

BLOCKS = {'resnet50': (3, 4, 6, 3), 'resnet101': (3, 4, 23, 3), 'resnet152': (3, 8, 36, 3)}


def _channels(value, width):
  return max(1, int(round(value * width)))


def output_channels(width=1.0):
  """Channels of the last block at a factor of all channels."""
  return 4 * _channels(64 * 2 ** 3, width)


def resnet_v1(images, scope, blocks, options, *, output_stride=8, width=1.0, padding='explicit',
              deep_stem=False):
  """Builds the trunk: conv1, pool1 and four blocks of bottleneck units.

  A block's stride sits in its last unit, in the 3x3 convolution (never in the first 1x1, as in
  Caffe); blocks that would reduce the map below the output stride are dilated instead.

  Args:
    images: Keras tensor [B, H, W, 3], RGB minus `preprocessing.MEAN_RGB`.
    scope: name of the network in variable names, `resnet_v1_101` say.
    blocks: four numbers of units.
    options: `layers.LayerOptions`.
    output_stride: 8 or 16.
    width: factor of all channels.
    padding: of pool1: 'explicit' pads (1, 1) as the original, 'same' (0, 1) on even maps as
      TF-Slim, whose ImageNet weights were trained so.
    deep_stem: three 3x3 convolutions of 64, 64 and 128 channels, conv1_1 to conv1_3 (TF DeepLab's
      names of its `resnet_v1_*_beta`), in the place of the 7x7.

  Returns:
    dict of Keras tensors: 'low_level' at stride 4 (the last unit before block1's stride),
    'auxiliary' (block3's, 1024 channels times width) and 'output' (2048).
  """
  if deep_stem:
    x = conv(images, _channels(64, width), 3, f'{scope}.conv1_1', options, stride=2)
    x = conv(x, _channels(64, width), 3, f'{scope}.conv1_2', options)
    x = conv(x, _channels(128, width), 3, f'{scope}.conv1_3', options)
  else:
    x = conv(images, _channels(64, width), 7, f'{scope}.conv1', options, stride=2)
  if padding == 'explicit':
    # Zeros never win over activations after a ReLU.
    x = keras.layers.ZeroPadding2D(1, dtype=options.dtype)(x)
  x = keras.layers.MaxPooling2D(
      3, 2, padding='valid' if padding == 'explicit' else 'same', dtype=options.dtype)(x)
  reduction, rate, low_level, auxiliary = 4, 1, None, None
  for block, units in enumerate(blocks, start=1):
    base = _channels(64 * 2 ** (block - 1), width)
    wanted = 2 if block < 4 else 1
    for unit in range(1, units + 1):
      stride = 1
      if unit == units and reduction < output_stride:
        stride = wanted
      if reduction == 4 and stride == 2:
        low_level = x
      x = _bottleneck(
          x, base, f'{scope}.block{block}.unit_{unit}.bottleneck_v1', options, stride, rate)
      reduction *= stride
    if block == 3:
      auxiliary = x
    if block < 4 and stride == 1:
      rate *= wanted
  return {'low_level': low_level, 'auxiliary': auxiliary, 'output': x}


def _bottleneck(x, base, name, options, stride, rate):
  depth = 4 * base
  if x.shape[-1] == depth:
    shortcut = x if stride == 1 else keras.layers.MaxPooling2D(1, stride, dtype=options.dtype)(x)
  else:
    shortcut = conv(x, depth, 1, f'{name}.shortcut', options, stride=stride, activation=False)
  residual = conv(x, base, 1, f'{name}.conv1', options)
  residual = conv(residual, base, 3, f'{name}.conv2', options, stride=stride, rate=rate)
  residual = conv(residual, depth, 1, f'{name}.conv3', options, activation=False)
  x = keras.layers.Add(dtype=options.dtype)([shortcut, residual])
  return keras.layers.Activation('relu', dtype=options.dtype)(x)
