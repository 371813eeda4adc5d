"""Test-time augmentation: a dense function averaged over scales and mirror images."""

import tensorflow as tf

from network.common.layers import resize_bilinear_legacy

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # the original's --scale_aug


def multi_scale(function, images, scales=(1.0,), mirror=False):
  """Averages a dense function over scaled, and mirrored, copies of the images.

  Copies are made, and results brought back, by TF1's bilinear sampling, in which pixel i of a copy
  lies at pixel i / scale of the image whatever the scale; mirroring happens on the scaled copy,
  where it is exact.

  Deviates from the original: it resized by OpenCV, whose pixel centres are shifted between scales.

  Args:
    function: float32 [batch, height, width, channels] -> float32 [batch, height, width, dim].
    images: float32 [batch, H, W, channels].
    scales: factors of both axes; a copy is at least one pixel.
    mirror: whether every copy is also taken mirrored left to right.

  Returns:
    float32 [batch, H, W, dim].
  """
  size = tuple(images.shape[1:3])
  total = 0.0
  for scale in scales:
    scaled_size = tuple(max(int(length * scale), 1) for length in size)
    scaled = _resize(images, scaled_size)
    result = function(scaled)
    if mirror:
      result = (result + tf.reverse(function(tf.reverse(scaled, [2])), [2])) / 2
    total += _resize(result, size)
  return total / len(scales)


def _resize(x, size):
  return x if tuple(x.shape[1:3]) == size else resize_bilinear_legacy(x, size)
