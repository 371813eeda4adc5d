"""MobileNetV2, the graph of Keras Applications, at output stride 8, 16 or 32.

Source: Sandler et al., CVPR 2018; keras.applications.MobileNetV2 (whose weight files fit).
"""

import keras

from network.common.preprocessing import MEAN_RGB

# (expansion, channels, units, stride of the first unit)
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
           (6, 160, 3, 2), (6, 320, 1, 1))
# The stage whose result an auxiliary classifier sees.
_AUXILIARY = 4
SCOPE = 'mobilenet_v2'


def _channels(value, width):
  value *= width
  rounded = max(8, int(value + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * value else rounded


def output_channels(width=1.0):
  """Channels of the last stage at a factor of all channels."""
  return _channels(_STAGES[-1][1], width)


def mobilenet_v2(images, options, *, output_stride=8, width=1.0, padding='explicit'):
  """Builds the trunk up to its last inverted residual, without the classifier's 1280 channels.

  Args:
    images: Keras tensor [B, H, W, 3], RGB minus `MEAN_RGB`; rescaled here to the [-1, 1] that the
      ImageNet weights were trained with (padding, zero, becomes the mean colour).
    options: `layers.LayerOptions`.
    output_stride: 8, 16 or 32; what would reduce the map further is dilated instead.
    width: factor of the channels (alpha).
    padding: 'explicit' pads strided convolutions by one pixel on each side, so that cell i lies on
      pixel output_stride * i, as everywhere in this house; 'same' is Keras', one pixel off at each
      reduction of an even map, which is all that differs.

  Returns:
    dict of Keras tensors: 'low_level' at stride 4 (24 channels), 'auxiliary' (96 channels, the
    last before the stage that would reduce to stride 32) and 'output' (320 channels).
  """
  def depthwise(x, name, stride, rate):
    if stride > 1 and padding == 'explicit':
      x = keras.layers.ZeroPadding2D(1, dtype=options.dtype)(x)
    x = keras.layers.DepthwiseConv2D(
        3, strides=stride, dilation_rate=rate, use_bias=False, name=name, dtype=options.dtype,
        padding='valid' if stride > 1 and padding == 'explicit' else 'same')(x)
    return relu6(options.norm(f'{name}_BN')(x))

  def relu6(x):
    return keras.layers.Activation('relu6', dtype=options.dtype)(x)

  def pointwise(x, filters, name):
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=name, dtype=options.dtype)(x)
    return options.norm(f'{name}_BN')(x)

  x = keras.layers.Rescaling(
      1 / 127.5, [float(mean) / 127.5 - 1.0 for mean in MEAN_RGB], dtype=options.dtype)(images)
  if padding == 'explicit':
    x = keras.layers.ZeroPadding2D(1, dtype=options.dtype)(x)
  x = keras.layers.Conv2D(
      _channels(32, width), 3, strides=2, use_bias=False, name=f'{SCOPE}.Conv1',
      dtype=options.dtype, padding='valid' if padding == 'explicit' else 'same')(x)
  x = relu6(options.norm(f'{SCOPE}.bn_Conv1')(x))

  index, reduction, rate, low_level, auxiliary = 0, 2, 1, None, None
  for stage, (expansion, filters, units, first_stride) in enumerate(_STAGES):
    for unit in range(units):
      stride = first_stride if unit == 0 else 1
      dilation = rate
      if stride > 1 and reduction == output_stride:
        # This unit's own depthwise convolution stays dense; those after it are dilated.
        stride, rate = 1, rate * stride
      reduction *= stride
      prefix = f'{SCOPE}.block_{index}' if index else f'{SCOPE}.expanded_conv'
      inputs, filters_in = x, x.shape[-1]
      if expansion > 1:
        x = relu6(pointwise(x, expansion * filters_in, f'{prefix}_expand'))
      x = depthwise(x, f'{prefix}_depthwise', stride, dilation)
      x = pointwise(x, _channels(filters, width), f'{prefix}_project')
      if (unit > 0 or first_stride == 1) and filters_in == x.shape[-1]:
        x = keras.layers.Add(dtype=options.dtype)([inputs, x])
      index += 1
      if reduction == 4 and unit == units - 1:
        low_level = x
    if stage == _AUXILIARY:
      auxiliary = x
  return {'low_level': low_level, 'auxiliary': auxiliary, 'output': x}
