"""The segmentation head: from frozen features to a code.

Source: specs/stego.md, section 1.5.
"""

import zlib

import keras
import numpy as np
import tensorflow as tf

PROJECTIONS = ('nonlinear', 'linear', 'none')


def uniform_initializer(name, channels, seed):
  """Kernel and bias of a 1x1 convolution: uniform in +-1 / sqrt(channels).

  A variable's value depends on its name and the seed, not on the order of building.

  Args:
    name: of the convolution.
    channels: of its input.
    seed: int >= 0.

  Returns:
    Two Keras initializers.
  """
  def values(kind):
    random = np.random.default_rng([zlib.crc32(f'{name}/{kind}'.encode()), seed])

    def draw(shape, dtype=None):
      return tf.constant(random.uniform(-1, 1, shape) / np.sqrt(channels), dtype or 'float32')
    return draw
  return {'kernel_initializer': values('kernel'), 'bias_initializer': values('bias')}


class SegmentationHead(keras.layers.Layer):
  """code = linear(f) + last(relu(hidden(f))), 1x1 convolutions with bias; any length.

  Args:
    channels: C of the features.
    dim: D of the code; of 'none' it has to be C.
    projection: 'nonlinear', the sum above; 'linear', its first term; 'none', the code is f itself,
      the baseline without anything to train.
    seed: int >= 0, of the initial weights, which are those of `uniform_initializer`.

  Raises:
    ValueError: an unknown projection, or another dim for 'none'.
  """

  activation = staticmethod(tf.nn.relu)

  def __init__(self, channels, dim, projection='nonlinear', seed=0, name='head'):
    super().__init__(name=name, dtype='float32')
    if projection not in PROJECTIONS:
      raise ValueError(f'--projection {projection}: one of {", ".join(PROJECTIONS)}')
    if projection == 'none' and dim != channels:
      raise ValueError(f'a code of {dim} channels with --projection none, where it is the '
                       f"features' {channels}")
    self.projection = projection

    def conv(name, filters):
      layer = keras.layers.Dense(
          filters, name=name, dtype='float32', **uniform_initializer(name, channels, seed))
      layer.build([None, channels])
      return layer

    if projection != 'none':
      self.linear = conv('linear', dim)
    if projection == 'nonlinear':
      self.hidden, self.last = conv('hidden', channels), conv('last', dim)

  def call(self, features, dropped=None):
    """The code.

    Args:
      features: float [..., C], what `linear` sees.
      dropped: [..., C], what `hidden` sees where it is not the same: in training the two have
        independent dropouts of whole channels (`network.common.channel_dropout`).

    Returns:
      float32 [..., D].
    """
    dropped = features if dropped is None else dropped
    if self.projection == 'none':
      return tf.cast(features, tf.float32)
    code = self.linear(features)
    if self.projection == 'nonlinear':
      code += self.last(self.activation(self.hidden(dropped)))
    return code
