"""Test-time augmentation: a dense function averaged over scales and mirror images."""

import tensorflow as tf

from network.common.layers import resize_bilinear_legacy, resize_nearest_legacy

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # the original's --scale_aug


def multi_scale(function, images, scales=(1.0,), mirror=False, regions=None):
  """Averages a dense function over scaled, and mirrored, copies of the images.

  Copies are made, and results brought back, by TF1's bilinear sampling, in which pixel i of a copy
  lies at pixel i / scale of the image whatever the scale; mirroring happens on the scaled copy,
  where it is exact. Regions go with the copies, by the nearest neighbour of the same sampling.

  Deviates from the original: it resized by OpenCV, whose pixel centres are shifted between scales.

  Args:
    function: float32 [batch, height, width, channels] -> float32 [batch, height, width, dim]; where
      there are regions they are its second argument.
    images: float32 [batch, H, W, channels].
    scales: factors of both axes; a copy is at least one pixel.
    mirror: whether every copy is also taken mirrored left to right.
    regions: int32 [batch, H, W] or None.

  Returns:
    float32 [batch, H, W, dim].
  """
  size = tuple(images.shape[1:3])
  total = 0.0
  for copies in scaled_copies(images, scales, regions):
    result = function(*copies)
    if mirror:
      result = (result + tf.reverse(function(*mirrored(copies)), [2])) / 2
    total += _resize(result, size)
  return total / len(scales)


def scaled_copies(images, scales, regions=None):
  """Yields the images, and the regions if there are any, at each scale: tuples of one or two."""
  size = tuple(images.shape[1:3])
  for scale in scales:
    scaled_size = tuple(max(int(length * scale), 1) for length in size)
    copies = [_resize(images, scaled_size)]
    if regions is not None:
      copies.append(resize_nearest_legacy(regions, scaled_size))
    yield tuple(copies)


def mirrored(copies):
  """The same copies mirrored left to right."""
  return tuple(tf.reverse(copy, [2]) for copy in copies)


def _resize(x, size):
  return x if tuple(x.shape[1:3]) == size else resize_bilinear_legacy(x, size)
