"""Projection heads: the embedding that the contrast works on, beside the segmentation head.

Source: specs/contrast.md, section 2.
"""

import keras

from network.common.layers import conv
from network.segsort.prototypes import l2_normalize

KINDS = ('linear', 'convmlp')


def projection(x, kind, dim, name, options):
  """Builds a projection head; inference can do without it.

  Args:
    x: Keras tensor [B, h, w, C].
    kind: 'linear', one 1x1 convolution `<name>.conv2`; 'convmlp', before it another one with C
      channels, `<name>.conv1`, batch norm and ReLU.
    dim: channels of the embedding, 256 in the original.
    name: of the layers.
    options: `network.common.layers.LayerOptions`.

  Returns:
    Keras tensor float32 [B, h, w, dim], of unit length at each pixel.

  Deviates from the original: no bias where batch norm follows, which takes it away again.
  """
  if kind == 'convmlp':
    x = conv(x, x.shape[-1], 1, f'{name}.conv1', options)
  x = conv(x, dim, 1, f'{name}.conv2', options, norm=False, activation=False)
  return UnitLength(dtype='float32')(x)


class UnitLength(keras.layers.Layer):
  """Vectors along the last axis scaled to unit length, in float32; zero stays zero."""

  def call(self, x):
    return l2_normalize(x)

  def compute_output_shape(self, shape):
    return shape
