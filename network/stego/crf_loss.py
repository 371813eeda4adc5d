"""The local CRF loss: near pixels of like colour have like codes.

Source: specs/stego.md, section 2.6.
"""

import tensorflow as tf

from network.common.hashing import hash_numbers
from network.common.layers import resize_bilinear
from network.segsort.prototypes import l2_normalize

RESOLUTION = 56  # of image and code


def random_pixels(seed, count, size=RESOLUTION):
  """Pixels drawn with replacement: int32 [count, 2], (row, column) in [0, size)."""
  numbers = hash_numbers(tf.range(2 * count), seed)
  return tf.cast(tf.reshape(numbers % size, [count, 2]), tf.int32)


def pairwise_kernel(places, colors, *, alpha=0.5, beta=0.15, gamma=0.05, bilateral_weight=10.0,
                    spatial_weight=3.0, shift=0.0):
  """How much two pixels should agree, by place and colour.

  Args:
    places: integer or float [N, 2], in pixels.
    colors: float [B, N, 3], in standard deviations of ImageNet's colours.
    alpha, beta, gamma: variances (not standard deviations): of places and of colours in the first
      term, of places in the second.
    bilateral_weight, spatial_weight: of the two terms.
    shift: is taken from all.

  Returns:
    float32 [B, N, N].
  """
  def squares(x):
    return tf.reduce_sum(tf.square(x[..., :, tf.newaxis, :] - x[..., tf.newaxis, :, :]), -1)

  distance, difference = squares(tf.cast(places, tf.float32)), squares(tf.cast(colors, tf.float32))
  bilateral = tf.exp(-distance / (2 * alpha) - difference / (2 * beta))
  return bilateral_weight * bilateral + spatial_weight * tf.exp(-distance / (2 * gamma)) - shift


def crf_pair_loss(images, code, places, **options):
  """Minus the cosine of every two pixels' codes times their `pairwise_kernel`.

  Args:
    images: float [B, h, w, 3], normalised colours.
    code: float [B, h, w, D], any length; the gradient flows through.
    places: int32 [N, 2], (row, column), the same in each image.
    **options: of `pairwise_kernel`.

  Returns:
    float32 [B, N, N].
  """
  def pick(maps):
    width = tf.shape(maps)[2]
    flat = tf.reshape(maps, [-1, tf.shape(maps)[1] * width, maps.shape[-1]])
    return tf.gather(flat, places[:, 0] * width + places[:, 1], axis=1)

  unit = l2_normalize(pick(code))
  kernel = pairwise_kernel(places, pick(images), **options)
  return -tf.matmul(unit, unit, transpose_b=True) * kernel


def crf_loss(images, code, seed, count, **options):
  """Mean of `crf_pair_loss` at random pixels of images and codes interpolated to 56x56.

  Args:
    images: float [B, H, W, 3], normalised colours.
    code: float [B, h, w, D].
    seed: two integers, int32 [2] for one.
    count: N, pixels.
    **options: of `pairwise_kernel`.

  Returns:
    float32 scalar.
  """
  images, code = (resize_bilinear(maps, (RESOLUTION, RESOLUTION)) for maps in (images, code))
  return tf.reduce_mean(crf_pair_loss(images, code, random_pixels(seed, count), **options))
