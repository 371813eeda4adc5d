"""Oversegmentations of images: a few dozen regions each, from contour maps."""

import dataclasses
import pathlib

import numpy as np

from utils import images
from utils.oriented_watershed import ultrametric_contour_map
from utils.ucm import neighbour_pairs, relabel

# The greatest id of an 8-bit mask is what padding looks like.
MOST_REGIONS = {8: 255, 16: 65535}


@dataclasses.dataclass(frozen=True)
class OversegmentationConfig:
  """How regions are cut from a hierarchy.

  Attributes:
    threshold: boundaries of at most this strength (0..1) are removed.
    max_regions: the threshold is raised until no more regions than this are left.
    min_area: pixels; smaller regions join the neighbour behind the weakest boundary.
    smoothing: pixels, the sigma of the contour map's smoothing.
    bits: 8 or 16, of the mask; its greatest number is never an id.

  Raises:
    ValueError: a value out of its range, or more regions than the mask has ids.
  """
  threshold: float = 0.0
  max_regions: int = 48
  min_area: int = 0
  smoothing: float = 1.0
  bits: int = 8

  def __post_init__(self):
    if self.bits not in MOST_REGIONS:
      raise ValueError(f'--bits {self.bits}: must be 8 or 16')
    most = MOST_REGIONS[self.bits]
    if not 1 <= self.max_regions <= most:
      remedy = ' (or --bits 16)' if self.bits == 8 else ''
      raise ValueError(f'--max_regions {self.max_regions}: must be 1..{most}{remedy}')
    if not 0 <= self.threshold <= 1:
      raise ValueError(f'--threshold {self.threshold}: must be 0..1')
    if not self.min_area >= 0:
      raise ValueError(f'--min_area {self.min_area}: must be 0 or more')
    if not 0 <= self.smoothing < float('inf'):
      raise ValueError(f'--smoothing {self.smoothing}: must be 0 or more')


def oversegment(contours, config=None):
  """Cuts an image into regions along its contours.

  Args:
    contours: float [height, width], 0..1, finite.
    config: `OversegmentationConfig`.

  Returns:
    The regions, uint8 or uint16 [height, width], ids 0.. without gaps in the order in which they
    appear row by row; and the `Ucm` that they are cut from.
  """
  config = config or OversegmentationConfig()
  ucm = ultrametric_contour_map(contours, config.smoothing)
  regions = ucm.regions(max(config.threshold, ucm.threshold_for(config.max_regions)))
  if config.min_area > 1:
    regions = join_small(regions, contours, config.min_area)
  return regions.astype(np.uint8 if config.bits == 8 else np.uint16), ucm


def join_small(regions, contours, min_area):
  """Joins small regions, the smallest first, to the neighbour behind their weakest boundary.

  Args:
    regions: int [height, width], ids 0.. without gaps.
    contours: float [height, width]; a boundary is as strong as their mean along it.
    min_area: pixels.

  Returns:
    int32 [height, width], ids 0.. without gaps; all regions have `min_area` pixels or more, unless
    only one is left.
  """
  area = np.bincount(regions.ravel()).astype(np.int64)
  boundaries = _boundaries(regions, contours)
  parent = np.arange(len(area))
  while True:
    alive = np.flatnonzero(parent == np.arange(len(area)))
    small = alive[np.argmin(area[alive])]
    if area[small] >= min_area or len(alive) == 1:
      break
    # Ties of equally strong boundaries go to the longer one, then to the lower id.
    other = min(boundaries[small], key=lambda region: (
        boundaries[small][region][0] / boundaries[small][region][1],
        -boundaries[small][region][1], region))
    parent[parent == small] = other
    area[other] += area[small]
    for region, (total, length) in boundaries.pop(small).items():
      del boundaries[region][small]
      if region != other:
        before = boundaries[other].get(region, (0.0, 0))
        boundaries[other][region] = boundaries[region][other] = (
            before[0] + total, before[1] + length)
  return relabel(parent[regions])


def _boundaries(regions, contours):
  """Of each region its neighbours: {region: {neighbour: (sum of contours, length)}}."""
  pairs = np.sort(neighbour_pairs(regions), axis=1)
  values = neighbour_pairs(np.asarray(contours, np.float64)).mean(axis=1)
  parted = pairs[:, 0] != pairs[:, 1]
  pairs, place = np.unique(pairs[parted], axis=0, return_inverse=True)
  totals = np.bincount(place.ravel(), values[parted], minlength=len(pairs))
  lengths = np.bincount(place.ravel(), minlength=len(pairs))
  boundaries = {region: {} for region in range(int(regions.max()) + 1)}
  for (first, second), total, length in zip(
      pairs.tolist(), totals.tolist(), lengths.tolist(), strict=True):
    boundaries[first][second] = boundaries[second][first] = (total, length)
  return boundaries


def find_contours(directory, name):
  """The path of the contour map of image `name` in a folder, or None: `.npy` or `.png`."""
  paths = (pathlib.Path(directory) / f'{name}{ending}' for ending in ('.npy', '.png'))
  return next((path for path in paths if path.is_file()), None)


def read_contours(path, image_path, size):
  """Reads a contour map.

  Args:
    path: PNG of 8 or 16 bits (its greatest number is a contour for certain), or `.npy` of floats in
      0..1.
    image_path: the image that it belongs to, for messages.
    size: (height, width) of the image.

  Returns:
    float64 [height, width], 0..1.

  Raises:
    ValueError: the map has another size than the image, is not finite or out of its range, or the
      file cannot be read; names the files.
  """
  path = pathlib.Path(path)
  if path.suffix == '.npy':
    try:
      with open(path, 'rb') as file:
        contours = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
      raise ValueError(f'{path}: not an array of NumPy ({error}); make it again') from error
    if contours.dtype.kind != 'f':
      raise ValueError(f'{path}: holds {contours.dtype}, but a contour map in .npy has floats 0..1')
    contours = contours.astype(np.float64)
  else:
    contours = images.read_gray(path)
  if contours.shape != tuple(size):
    raise ValueError(f'{path} is {" x ".join(map(str, contours.shape))}, but {image_path} is '
                     f'{" x ".join(map(str, size))} (height x width): make the map from this image')
  if not np.isfinite(contours).all():
    raise ValueError(f'{path}: {np.count_nonzero(~np.isfinite(contours))} values are NaN or '
                     'infinite; make the map again')
  if contours.min() < 0 or contours.max() > 1:
    raise ValueError(f'{path}: values from {contours.min():.3g} to {contours.max():.3g}, but '
                     'contours are 0..1; divide by their greatest possible value')
  return contours
