"""Layers of every network: TF-Slim's padding, injected normalisation, TF1's and modern resizing.

Source: specs/segsort.md, section 2.
"""

import dataclasses

import keras
import tensorflow as tf

from network.common.batch_norm import BatchNorm
from network.common.convolution import Conv2D


@dataclasses.dataclass(frozen=True)
class LayerOptions:
  """The policies that every layer of a network is built with.

  name scopes are written with dots: `resnet_v1_101.conv1` is the original's `resnet_v1_101/conv1`.
  """
  decay: float = 0.9997
  epsilon: float = 1e-3
  synchronized: bool = False
  frozen: bool = False
  dtype: str = 'float32'

  def norm(self, name):
    return BatchNorm(
        self.decay, self.epsilon, self.synchronized, self.frozen, name=name, dtype=self.dtype)


def conv(x, filters, kernel, name, options, *, stride=1, rate=1, norm=True, activation=True):
  """Convolution with TF-Slim's padding, then batch norm and ReLU.

  A stride above 1 pads (kernel - 1) // 2 zeros on each side explicitly, whatever the input's size.
  """
  padding = 'same'
  if stride > 1:
    padding = 'valid'
    total = kernel + (kernel - 1) * (rate - 1) - 1
    if total:
      pads = ((total // 2, total - total // 2),) * 2
      x = keras.layers.ZeroPadding2D(pads, dtype=options.dtype)(x)
  x = Conv2D(
      filters, kernel, strides=stride, padding=padding, dilation_rate=rate, use_bias=not norm,
      name=name, dtype=options.dtype)(x)
  if norm:
    x = options.norm(f'{name}.BatchNorm')(x)
  return keras.layers.Activation('relu', dtype=options.dtype)(x) if activation else x


def _weights(positions, size):
  """[len(positions), size] weights of linear interpolation at float positions in [0, size - 1]."""
  places = tf.range(size, dtype=tf.float32)
  return tf.nn.relu(1.0 - tf.abs(positions[:, tf.newaxis] - places[tf.newaxis, :]))


def _separable(x, rows, columns):
  """Applies matrices [h', h] and [w', w] to the axes of x, float32 [B, h, w, C].

  As products of the matrices with what lies together in memory: an einsum would transpose x.
  """
  def lengths(of):
    return [tf.shape(of)[axis] if length is None else length
            for axis, length in enumerate(of.shape)]

  batch, height, width, channels = lengths(x)
  (new_height, _), (new_width, _) = lengths(rows), lengths(columns)
  x = tf.matmul(columns, tf.reshape(x, [batch * height, width, channels]))
  x = tf.matmul(rows, tf.reshape(x, [batch, height, new_width * channels]))
  return tf.reshape(x, [batch, new_height, new_width, channels])


def resize_bilinear_legacy(x, size):
  """Bilinear resizing as TF1's: output i samples input i * in / out, without half-pixel centres.

  Written as two small matrix products, which XLA compiles (it has no such kernel) and which have a
  gradient.

  Args:
    x: [B, h, w, C].
    size: (height, width) of the output, ints or an int32 [2] tensor.

  Returns:
    float32 [B, height, width, C].
  """
  return _separable(tf.cast(x, tf.float32), *(
      _weights(_legacy_positions(length, target), length)
      for length, target in _lengths(x, size)))


def resize_bilinear(x, size):
  """Bilinear resizing with half-pixel centres, `tf.image.resize`; otherwise as the legacy one."""
  def matrix(length, target):
    scale = tf.cast(length, tf.float32) / tf.cast(target, tf.float32)
    positions = (tf.range(target, dtype=tf.float32) + 0.5) * scale - 0.5
    return _weights(tf.clip_by_value(positions, 0.0, tf.cast(length, tf.float32) - 1.0), length)
  return _separable(tf.cast(x, tf.float32), *(matrix(*axis) for axis in _lengths(x, size)))


def enlarge(x, factor, size):
  """Bilinear enlargement by a whole factor: cell i of x lies on cell factor * i of the result.

  This is where a convolution of stride `factor` with symmetric padding has put it, whatever the
  sizes. What lies beyond the last cell has its value. Equal to `resize_bilinear_legacy` for
  size = factor * (h, w), and to sampling with aligned corners for factor * (h - 1) + 1 likewise.

  Args:
    x: [B, h, w, C].
    factor: int >= 1.
    size: (height, width) of the result, at most factor * (h, w); ints or an int32 [2] tensor.

  Returns:
    float32 [B, height, width, C].
  """
  def lengthen(x, target):  # [n, length, values] -> [n, target, values]
    following = tf.concat([x[:, 1:], x[:, -1:]], axis=1)[:, :, tf.newaxis]
    x = x[:, :, tf.newaxis]
    shares = tf.range(factor, dtype=tf.float32)[:, tf.newaxis] / factor
    x = x + (following - x) * shares
    shape = tf.shape(x)
    return tf.reshape(x, [shape[0], shape[1] * factor, shape[3]])[:, :target]

  (height, rows), (width, columns) = _lengths(x, size)
  batch, channels = tf.shape(x)[0], x.shape[3] or tf.shape(x)[3]
  x = tf.reshape(tf.cast(x, tf.float32), [batch * height, width, channels])
  x = tf.reshape(lengthen(x, columns), [batch, height, columns * channels])
  return tf.reshape(lengthen(x, rows), [batch, rows, columns, channels])


def resize_nearest_legacy(x, size):
  """Nearest-neighbour resizing as TF1's: output i is input floor(i * in / out); any dtype.

  Args:
    x: [B, h, w] or [B, h, w, C].
    size: (height, width) of the output, ints or an int32 [2] tensor.
  """
  for axis, (length, target) in enumerate(_lengths(x, size), start=1):
    positions = tf.cast(tf.floor(_legacy_positions(length, target)), tf.int32)
    x = tf.gather(x, positions, axis=axis)
  return x


def adaptive_average_pool(x, bins):
  """Average pooling into bins x bins cells of any map.

  Cell i covers rows floor(i * h / bins) to ceil((i + 1) * h / bins); where bins divides the size
  this is pooling with kernel and stride size / bins, as the original's, defined only there.

  Args:
    x: [B, h, w, C].
    bins: int.

  Returns:
    [B, bins, bins, C] of x's dtype; averaged in float32.
  """
  def matrix(length):
    first = tf.range(bins) * length // bins
    last = -(-(tf.range(bins) + 1) * length // bins)
    places = tf.range(length)
    inside = (places >= first[:, tf.newaxis]) & (places < last[:, tf.newaxis])
    return tf.cast(inside, tf.float32) / tf.cast(last - first, tf.float32)[:, tf.newaxis]
  pooled = _separable(
      tf.cast(x, tf.float32), *(matrix(length) for length, _ in _lengths(x, (bins, bins))))
  return tf.cast(pooled, x.dtype)


class AdaptiveAveragePool(keras.layers.Layer):
  """`adaptive_average_pool` as a layer."""

  def __init__(self, bins, **kwargs):
    super().__init__(**kwargs)
    self.bins = bins

  def call(self, x):
    return adaptive_average_pool(x, self.bins)

  def compute_output_shape(self, shape):
    return (shape[0], self.bins, self.bins, shape[3])


class ResizeLike(keras.layers.Layer):
  """`resize_bilinear_legacy` of a map to the size of a second one; the first one's dtype."""

  def call(self, inputs):
    x, like = inputs
    return tf.cast(resize_bilinear_legacy(x, tf.shape(like)[1:3]), x.dtype)

  def compute_output_shape(self, shapes):
    return (*shapes[1][:3], shapes[0][3])


class EnlargeLike(keras.layers.Layer):
  """`enlarge` of a map by a factor, to the size of a second one; the first one's dtype."""

  def __init__(self, factor, **kwargs):
    super().__init__(**kwargs)
    self.factor = factor

  def call(self, inputs):
    x, like = inputs
    return tf.cast(enlarge(x, self.factor, tf.shape(like)[1:3]), x.dtype)

  def compute_output_shape(self, shapes):
    return (*shapes[1][:3], shapes[0][3])


def _lengths(x, size):
  shape = tf.shape(x)
  return [(shape[axis + 1] if x.shape[axis + 1] is None else x.shape[axis + 1], size[axis])
          for axis in range(2)]


def _legacy_positions(length, target):
  scale = tf.cast(length, tf.float32) / tf.cast(target, tf.float32)
  positions = tf.range(target, dtype=tf.float32) * scale
  return tf.minimum(positions, tf.cast(length, tf.float32) - 1.0)
