"""What a frozen trunk is shown of an image: five crops of it, one size, its middle.

Source: specs/stego.md, sections 3.1 and 3.2.
"""

import dataclasses

import numpy as np
from PIL import Image

CROPS = ('one', 'five')
MIDDLES = ('centre', 'none')
RESAMPLINGS = ('bilinear', 'nearest')
FIVE = 5


@dataclasses.dataclass(frozen=True)
class Geometry:
  """How an image of any size becomes what the trunk sees.

  Deviates from the original: images are resized bilinearly and antialiased, where it takes the
  nearest pixel for them too (`resampling='nearest'`).

  Attributes:
    size: pixels of the shorter side.
    middle: 'centre' cuts out the middle square of `size`, 'none' leaves the whole image.
    resampling: 'bilinear' or 'nearest', of images; labels are always the nearest pixel's.

  Raises:
    ValueError: any other value.
  """
  size: int = 224
  middle: str = 'centre'
  resampling: str = 'bilinear'

  def __post_init__(self):
    if self.size < 1:
      raise ValueError(f'--size {self.size}: must be at least 1')
    for name, choices in (('middle', MIDDLES), ('resampling', RESAMPLINGS)):
      if getattr(self, name) not in choices:
        raise ValueError(f'--{name} {getattr(self, name)}: one of {", ".join(choices)}')

  def image(self, image, stride=1):
    """The image uint8 [H, W, 3] as it is shown: uint8 [h, w, 3].

    Whole images (`middle='none'`) get the nearest sides that are multiples of `stride`. Otherwise
    the last cells of features would reach beyond the image, which interpolation to the image's
    size would not know, and cells of its mirror image would lie between its own.
    """
    size = resized_size(image.shape[:2], self.size)
    if self.middle == 'none':
      size = whole_cells(size, stride)
    if self.resampling == 'nearest':
      image = resize_nearest(image, size)
    else:
      image = np.asarray(
          Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    return self._cut(image)

  def label(self, label):
    """The labels integer [H, W] of what is shown: [h, w]; the nearest pixel's."""
    return self._cut(resize_nearest(label, resized_size(label.shape, self.size)))

  def _cut(self, array):
    if self.middle == 'none':
      return array
    top, left = (middle_offset(length, self.size) for length in array.shape[:2])
    return array[top:top + self.size, left:left + self.size]


def resized_size(size, shorter):
  """(height, width) with the shorter side of `size` made `shorter`, the other one cut to int."""
  least = min(size)
  return tuple(shorter if length == least else int(shorter * length / least) for length in size)


def whole_cells(size, stride):
  """(height, width), each the nearest multiple of `stride`, one of it at least."""
  return tuple(max(1, round(length / stride)) * stride for length in size)


def resize_nearest(array, size):
  """Resizes [H, W, ...] to `size`: output i is the pixel under its centre, (i + 1/2) * in / out."""
  rows, columns = (
      (2 * np.arange(target) + 1) * length // (2 * target)
      for length, target in zip(array.shape[:2], size, strict=True))
  return array[rows[:, None], columns]


def middle_offset(length, part):
  """Where a part begins that is cut out of the middle; halves go to the even number."""
  return int(round((length - part) / 2))


def crop_box(size, crop):
  """(top, left, bottom, right) of one of five crops of half the height and width.

  Args:
    size: (height, width) of the image.
    crop: 0 to 4: top left, top right, bottom left, bottom right, centre; None for the whole image.

  Raises:
    ValueError: an image of a single pixel in height or width has no crops.
  """
  height, width = size
  if crop is None:
    return 0, 0, height, width
  rows, columns = height // 2, width // 2
  if not rows or not columns:
    raise ValueError(f'an image of {height}x{width} pixels is too small for five crops')
  top, left = ((0, 0), (0, width - columns), (height - rows, 0), (height - rows, width - columns),
               (middle_offset(height, rows), middle_offset(width, columns)))[crop]
  return top, left, top + rows, left + columns
