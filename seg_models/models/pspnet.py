"""PSPNet: pyramid pooling over the whole map, then one 3x3 convolution.

Source: Zhao et al., CVPR 2017; specs/segsort.md, section 2.
"""

import keras

from network.common.layers import adaptive_average_pool, conv, resize_bilinear_legacy

BINS = (1, 2, 3, 6)


class PyramidLevel(keras.layers.Layer):
  """Average pooling into bins x bins cells, whatever the size of the map."""

  def __init__(self, bins, **kwargs):
    super().__init__(**kwargs)
    self.bins = bins

  def call(self, x):
    return adaptive_average_pool(x, self.bins)

  def compute_output_shape(self, shape):
    return (shape[0], self.bins, self.bins, shape[3])


class ResizeLike(keras.layers.Layer):
  """Resizes a map to the size of another one, TF1's way."""

  def call(self, inputs):
    x, like = inputs
    return keras.ops.cast(resize_bilinear_legacy(x, keras.ops.shape(like)[1:3]), x.dtype)

  def compute_output_shape(self, shapes):
    return (*shapes[1][:3], shapes[0][3])


def pspnet(features, scope, output_dim, options, *, head_dim=512):
  """Builds the head under `<scope>/block5`.

  Args:
    features: dict of Keras tensors from a backbone; 'output' [B, h, w, C] is used.
    scope: name of the network in variable names.
    output_dim: channels of the result.
    options: `layers.LayerOptions`.
    head_dim: channels of each pyramid level and of the 3x3 convolution (512 in the original).

  Returns:
    Keras tensor [B, h, w, output_dim].

  Deviates from the original: any map size will do; it needs squares of multiples of 6 cells, where
  the two are equal.
  """
  x = features['output']
  levels = []
  for bins in BINS:
    level = PyramidLevel(bins, dtype=options.dtype)(x)
    level = conv(level, head_dim, 1, f'{scope}.block5.pool{bins}.conv1', options)
    levels.append(ResizeLike(dtype=options.dtype)([level, x]))
  x = keras.layers.Concatenate(dtype=options.dtype)([*levels, x])
  x = conv(x, head_dim, 3, f'{scope}.block5.conv2', options)
  return conv(x, output_dim, 1, f'{scope}.block5.fc1_voc12', options, norm=False, activation=False)
