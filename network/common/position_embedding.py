"""Learned position embeddings of transformers, resampled to other grids of patches.

Source: specs/stego.md, section 1.2: Keys' cubic convolution of a = -0.75 at half-pixel places,
border cells repeated beyond the border, neither antialiased nor renormalised.
"""

import math

import tensorflow as tf

CUBIC = -0.75
# What the originals of DINO and DINOv2 (its backbones without registers) add to the number of
# cells of the new grid before they divide it by the old one's.
OFFSET = 0.1


def cubic_matrix(length, target, scale):
  """Weights of cubic resampling along one axis.

  Args:
    length: int, cells there are.
    target: cells of the result; int or int32 scalar.
    scale: result cells per cell, float or float64 scalar: cell i of the result is at
      (i + 0.5) / scale - 0.5.

  Returns:
    float64 [target, length]; with scale 1 and target = length exactly the identity.
  """
  places = (tf.range(tf.cast(target, tf.float64), dtype=tf.float64) + 0.5) / scale - 0.5
  before = tf.floor(places)
  share = places - before
  a = CUBIC

  def inner(z):
    return ((a + 2) * z - (a + 3)) * z * z + 1

  def outer(z):
    return ((a * z - 5 * a) * z + 8 * a) * z - 4 * a
  taps = (outer(share + 1), inner(share), inner(1 - share), outer(2 - share))
  return tf.add_n([
      weights[:, tf.newaxis] * tf.one_hot(
          tf.clip_by_value(tf.cast(before, tf.int32) + step, 0, length - 1), length,
          dtype=tf.float64)
      for step, weights in enumerate(taps, start=-1)])


def resample_positions(table, height, width):
  """The position embedding of a grid of patches from that of the grid it was trained with.

  Args:
    table: [n * n, C], or [1 + n * n, C] with the row of the CLS token, which stays as it is, first.
    height, width: patches of the new grid; ints or int32 scalars.

  Returns:
    [height * width, C] (1 more with CLS), of the table's dtype; computed in float64. For n x n
    patches it is the table itself, otherwise what the original's scale (height + 0.1) / n gives.

  Raises:
    ValueError: the table is of no square grid.
  """
  rows, channels = table.shape
  side = math.isqrt(rows)
  special = rows - side * side
  if special > 1:
    raise ValueError(f'{rows} positions are neither n * n nor 1 + n * n: no square grid of patches')
  height, width = tf.convert_to_tensor(height), tf.convert_to_tensor(width)
  same = (height == side) & (width == side)
  offset = tf.where(same, tf.zeros([], tf.float64), tf.constant(OFFSET, tf.float64))
  to_rows, to_columns = (
      cubic_matrix(side, target, (tf.cast(target, tf.float64) + offset) / side)
      for target in (height, width))
  grid = tf.reshape(tf.cast(table[special:], tf.float64), [side, side, channels])
  grid = tf.einsum('pi,qj,ijc->pqc', to_rows, to_columns, grid)
  grid = tf.cast(tf.reshape(grid, [height * width, channels]), table.dtype)
  return tf.concat([table[:special], grid], axis=0)
