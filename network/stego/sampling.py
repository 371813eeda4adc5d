"""Random points of feature maps, and what the maps are there.

Source: STEGO (Hamilton et al., ICLR 2022); specs/stego.md, sections 2.1 and 2.2.
"""

import tensorflow as tf

from network.common.hashing import hash_numbers


def uniform_points(seed, images, count, first=0):
  """Points drawn uniformly from maps whose corners are at -1 and 1.

  An image's points depend on the seed and its place in the joined batch alone: replicas, each with
  its share, draw what one device would.

  Args:
    seed: two integers, int32 [2] for one.
    images: B, rows of the (local) batch; int or scalar tensor.
    count: N, points of each image.
    first: place of the first image in the joined batch (`network.common.replicas.own_offset`).

  Returns:
    float32 [B, N, 2], (x = column, y = row) in [-1, 1).
  """
  rows = (first + tf.range(images))[:, tf.newaxis, tf.newaxis] * count
  numbers = (rows + tf.range(count)[:, tf.newaxis]) * 2 + tf.range(2)
  # The 24 bits that float32 holds exactly.
  share = tf.cast(hash_numbers(numbers, seed) // 2 ** 8, tf.float32) / 2 ** 24
  return share * 2 - 1


def bilinear_samples(maps, points, images=None):
  """Bilinear interpolation of maps at points, corner cells' centres being at -1 and 1.

  Args:
    maps: float [M, h, w, C]; computed in float32, the gradient flows through.
    points: float32 [B, N, 2], (x = column, y = row); points beyond a border are taken to it.
    images: int32 [B], which of the maps each row of points is sampled from; None for their order.

  Returns:
    float32 [B, N, C].
  """
  maps = tf.cast(maps, tf.float32)
  count, height, width, channels = maps.shape
  if None in (height, width):
    height, width = tf.unstack(tf.shape(maps)[1:3])
  if images is None:
    images = tf.range(tf.shape(maps)[0] if count is None else count)

  def neighbours(position, size):
    """Two places along an axis, with the weight of the second."""
    last = tf.cast(size, tf.float32) - 1
    position = tf.clip_by_value((position + 1) / 2 * last, 0.0, last)
    lower = tf.floor(position)
    place = tf.cast(lower, tf.int32)
    return (place, tf.minimum(place + 1, size - 1)), (position - lower)[..., tf.newaxis]

  columns, right = neighbours(points[..., 0], width)
  rows, below = neighbours(points[..., 1], height)
  pixels = tf.reshape(maps, [-1, channels])
  starts = images[:, tf.newaxis] * height

  def row(place):
    first, second = (tf.gather(pixels, (starts + place) * width + column) for column in columns)
    return first * (1 - right) + second * right

  return row(rows[0]) * (1 - below) + row(rows[1]) * below
