"""Sliding windows: a dense function of an image, put together from crops of one size."""

import dataclasses
import math

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Windows:
  """Crops of one size; neighbouring ones lie at most a stride apart.

  Attributes:
    size: (height, width) of a window in pixels.
    strides: (vertical, horizontal) distance in pixels, at most the size.
  """

  size: tuple[int, int]
  strides: tuple[int, int]

  def __post_init__(self):
    if min(self.size) < 1 or min(self.strides) < 1:
      raise ValueError(f'windows of {self.size} at strides {self.strides}: all must be positive')
    if any(stride > size for stride, size in zip(self.strides, self.size, strict=True)):
      raise ValueError(f'strides {self.strides} larger than the windows {self.size} leave gaps: '
                       'give --strides of at most --input_size')


def window_starts(length, size, stride):
  """First pixels of the windows along an axis of `length` >= `size` pixels.

  The original's rule: as few windows as reach the end, spread evenly, the last one ending at
  `length`.

  Returns:
    Increasing list of ints from 0 to `length - size`.
  """
  count = math.ceil((length - size) / stride) + 1
  return (np.linspace(size, length, count).astype(int) - size).tolist()


def slide(function, images, windows, regions=None):
  """Applies a dense function window by window and averages it where windows overlap.

  Images smaller than a window are padded with zeros, the mean colour, at the bottom and on the
  right, their regions with -1; what is computed there is cut off.

  Deviates from the original: its SegSort scripts sum over windows where this averages. Embeddings
  are normalised afterwards, so there it is the same; votes it weighted by the number of windows.

  Args:
    function: float32 [batch, height, width, channels] -> float32 [batch, height, width, dim]; where
      there are regions they are its second argument.
    images: float32 [batch, H, W, channels], 0 = mean colour.
    windows: `Windows`.
    regions: int32 [batch, H, W] or None.

  Returns:
    float32 [batch, H, W, dim].
  """
  height, width = images.shape[1:3]
  margins = [[0, 0], [0, max(windows.size[0] - height, 0)], [0, max(windows.size[1] - width, 0)]]
  padded = [tf.pad(images, [*margins, [0, 0]])]
  if regions is not None:
    padded.append(tf.pad(regions, margins, constant_values=-1))
  full = padded[0].shape[1:3]
  rows, columns = (
      window_starts(*axis) for axis in zip(full, windows.size, windows.strides, strict=True))
  count = np.zeros([*full, 1], np.float32)
  total = None
  for top in rows:
    for left in columns:
      bottom, right = top + windows.size[0], left + windows.size[1]
      result = function(*(values[:, top:bottom, left:right] for values in padded))
      # Cropping before the sum keeps the sum at the image's own size.
      result = result[:, :max(height - top, 0), :max(width - left, 0)]
      margins = [[0, 0], [top, max(height - bottom, 0)], [left, max(width - right, 0)], [0, 0]]
      result = tf.pad(result, margins)
      total = result if total is None else total + result
      count[top:bottom, left:right] += 1
  return total / count[:height, :width]
