"""Random scale, flip and crop of an image and everything that is known of its pixels."""

import dataclasses

import numpy as np

from network.common.preprocessing import MEAN_RGB
from utils import images
from utils.configuration import option


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
  """How images become crops of one size."""
  input_size: tuple[int, int] = option((336, 336), 'height,width of the crops')
  random_scale: bool = option(False, 'scale each image by a random factor within --scale_range')
  random_mirror: bool = option(False, 'flip each image left-right with probability 1/2')
  random_crop: bool = option(False, 'crop at a random place instead of the centre')
  scale_range: tuple[float, float] = option((0.5, 2.0), 'smallest and largest random scale')

  def __post_init__(self):
    if len(self.input_size) != 2 or min(self.input_size) < 1:
      raise ValueError(f'--input_size {self.input_size}: expected two positive sizes')
    if len(self.scale_range) != 2 or not 0 < self.scale_range[0] <= self.scale_range[1]:
      raise ValueError(f'--scale_range {self.scale_range}: expected 0 < smallest <= largest')


def augment(image, maps, config, rng):
  """Cuts one crop out of an image and the maps that belong to it.

  In the original's order: one uniform random scale for both axes, the new size truncated to whole
  pixels (TF1's bilinear for the image, nearest neighbour for everything else); flip; padding at the
  bottom and right up to the crop's size; crop. Without `random_crop` the crop is at the centre of
  what is larger than it. Only the crop's own pixels are resampled.

  Args:
    image: uint8 [height, width, 3].
    maps: name -> (int32 [height, width], its value in padding).
    config: `AugmentationConfig`; the crop is h x w.
    rng: `numpy.random.Generator`; always advanced by the same four draws.

  Returns:
    dict: image float32 [h, w, 3], RGB minus `MEAN_RGB`, 0 in padding; valid bool [h, w], False in
    padding; location float32 [h, w, 2], (row / height, column / width) in the original image, in
    [0, 1), 0 in padding; and the maps under their names, int32 [h, w] each.
  """
  scale_draw, flip_draw, row_draw, column_draw = rng.random(4)
  low, high = config.scale_range
  scale = low + (high - low) * scale_draw if config.random_scale else 1.0
  mirrored = config.random_mirror and flip_draw < 0.5
  rows = _crop(image.shape[0], scale, config.input_size[0], row_draw if config.random_crop else 0.5)
  columns = _crop(
      image.shape[1], scale, config.input_size[1], column_draw if config.random_crop else 0.5,
      mirrored)
  height, width = len(rows), len(columns)
  nearest_rows = images.nearest_indices(rows, image.shape[0])
  nearest_columns = images.nearest_indices(columns, image.shape[1])

  crop = {
      'image': np.zeros((*config.input_size, 3), np.float32),
      'valid': np.zeros(config.input_size, bool),
      'location': np.zeros((*config.input_size, 2), np.float32)}
  np.subtract(
      images.bilinear_at(image, rows, columns), MEAN_RGB,
      out=crop['image'][:height, :width])
  crop['valid'][:height, :width] = True
  crop['location'][:height, :width, 0] = nearest_rows[:, None] / image.shape[0]
  crop['location'][:height, :width, 1] = nearest_columns / image.shape[1]
  for name, (values, padding) in maps.items():
    crop[name] = np.full(config.input_size, padding, np.int32)
    crop[name][:height, :width] = values[nearest_rows][:, nearest_columns]
  return crop


def _crop(size, scale, crop_size, draw, mirrored=False):
  """The coordinates, in an axis of the image, of the crop's pixels: at most `crop_size` of them.

  `draw` in [0, 1) chooses among the possible places; 0.5 is the centre.
  """
  scaled = max(int(size * scale), 1)
  coordinates = images.legacy_coordinates(size, scaled)
  if mirrored:
    coordinates = coordinates[::-1]
  start = int(draw * (max(scaled - crop_size, 0) + 1))
  return coordinates[start:start + crop_size]
