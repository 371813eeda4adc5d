"""Embeddings as colours, by their three principal components."""

from typing import NamedTuple

import tensorflow as tf

# Colours cover this many standard deviations to each side of the mean.
_DEVIATIONS = 2.5


class ColorBasis(NamedTuple):
  """The map from embeddings to colours: mean float32 [D], axes float32 [D, 3] (scaled)."""
  mean: tf.Tensor
  axes: tf.Tensor


def color_basis(embedding):
  """The three principal components of a set of embeddings.

  Args:
    embedding: float [..., D].

  Returns:
    `ColorBasis`. Axes point to where their largest entry is positive, so that equal sets get equal
    colours; an axis without variance, or beyond D, is zero.
  """
  dim = embedding.shape[-1]
  points = tf.reshape(tf.cast(embedding, tf.float32), [-1, dim])
  mean = tf.reduce_mean(points, axis=0)
  points -= mean
  number = tf.cast(tf.shape(points)[0], tf.float32)
  covariance = tf.matmul(points, points, transpose_a=True) / number
  variances, axes = tf.linalg.eigh(covariance)
  variances, axes = variances[::-1][:3], axes[:, ::-1][:, :3]
  largest = tf.gather(tf.transpose(axes), tf.argmax(tf.abs(axes), axis=0), batch_dims=1)
  spread = tf.sqrt(tf.maximum(variances, 0.0))
  # A variance that is only rounding error would be blown up to full colours.
  scale = tf.where(spread > 1e-6, tf.sign(largest) / (_DEVIATIONS * tf.maximum(spread, 1e-6)), 0.0)
  return ColorBasis(mean, tf.pad(axes * scale, [[0, 0], [0, max(0, 3 - dim)]]))


def pca_rgb(embedding, basis=None):
  """Colours in which similar embeddings look alike.

  Args:
    embedding: float [..., D].
    basis: `ColorBasis`, the same for pictures whose colours are to be compared; by default that of
      `embedding` itself.

  Returns:
    uint8 [..., 3] in [0, 255]; the mean is gray, 2.5 standard deviations are 0 and 255.
  """
  if basis is None:
    basis = color_basis(embedding)
  values = tf.tensordot(tf.cast(embedding, tf.float32) - basis.mean, basis.axes, axes=1)
  return tf.cast(tf.round(127.5 + 127.5 * tf.clip_by_value(values, -1.0, 1.0)), tf.uint8)
