"""Dropout of whole channels, drawn without state."""

import tensorflow as tf

from network.common.hashing import hash_numbers


def channel_masks(seed, images, channels, rate, count=1, first=0):
  """Factors that drop whole channels of an image and scale up the others.

  An image's masks depend on the seed and its place in the joined batch alone: replicas, each with
  its share, draw what one device would.

  Args:
    seed: two integers, int32 [2] for one.
    images: B, rows of the (local) batch; int or scalar tensor.
    channels: C.
    rate: in [0, 1), the share of channels that is dropped; 0 gives ones.
    count: number of independent masks.
    first: place of the first image in the joined batch (`network.common.replicas.own_offset`).

  Returns:
    float32 [count, B, 1, 1, C], 0 or 1 / (1 - rate), of mean 1.

  Raises:
    ValueError: the rate is not in [0, 1).
  """
  if not 0 <= rate < 1:
    raise ValueError(f'dropout of {rate}: must be at least 0 and less than 1')
  rows = (first + tf.range(images))[tf.newaxis, :, tf.newaxis] * count
  numbers = (rows + tf.range(count)[:, tf.newaxis, tf.newaxis]) * channels + tf.range(channels)
  kept = hash_numbers(numbers, seed) >= int(rate * 2 ** 32)
  return tf.cast(kept, tf.float32)[:, :, tf.newaxis, tf.newaxis] / (1.0 - rate)
