"""Images and masks, from and to files, and TF1's way of resizing them in NumPy."""

import numpy as np
from PIL import Image, ImageOps

from utils import colors, files

# Pillow stretches gray PNGs of 2 and 4 bits to 0..255; a label is the stored number.
_STRETCHED = {'L;2': 85, 'L;4': 17}
_ORIENTATION = 0x0112  # EXIF tag


def _open(path, convert):
  """`convert` of the image at `path`, turned as its EXIF orientation says, and its stretch."""
  try:
    with Image.open(path) as image:
      stretch = _STRETCHED.get(image.tile[0][3], 1) if image.tile else 1
      image.load()
      upright = image.getexif().get(_ORIENTATION, 1) == 1
      array = convert(image if upright else ImageOps.exif_transpose(image))
  except FileNotFoundError:
    raise
  except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
    raise ValueError(f'{path}: cannot be read as an image ({error}); is it truncated, or no image? '
                     'Copy or download it again, or take it out of the list.') from error
  return array, stretch


def read_image(path):
  """Reads a JPEG, PNG or other image that Pillow knows as RGB.

  Gray and palette images become RGB, an alpha channel is dropped, 16 bits are cut to the upper 8,
  and the EXIF orientation is followed.

  Args:
    path: str or path of the file.

  Returns:
    uint8 [height, width, 3], 0..255.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is truncated or no image; names the file.
  """
  def convert(image):
    if image.mode == 'F':
      raise ValueError(f'{path}: an image of floats has no known range; save it with 8 or 16 bits')
    if image.mode.startswith('I'):  # 16-bit gray; older Pillows call it I
      gray = np.clip(np.asarray(image), 0, 65535) >> 8
      return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1)
    return np.array(image.convert('RGB'))

  return _open(path, convert)[0]


def read_mask(path):
  """Reads a mask of ids: gray PNGs of 1 to 16 bits, and palette PNGs, whose indices are the ids.

  Deviates from the original: its decoder turned a palette into luma and 16 bits into zeros without
  a word.

  Args:
    path: str or path of the file.

  Returns:
    int32 [height, width], the stored numbers.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is truncated or no image, has colours instead of ids, or was compressed
      with loss; names the file.
  """
  def convert(image):
    if image.format == 'JPEG':
      raise ValueError(f'{path}: a mask in JPEG has lost its exact ids; save it as PNG')
    if image.mode not in ('1', 'L', 'P') and not image.mode.startswith('I'):
      raise ValueError(f'{path}: a mask holds one id for each pixel, but this file is {image.mode} '
                       '(colours?); convert it to a gray or palette PNG')
    return np.array(image).astype(np.int32)

  mask, stretch = _open(path, convert)
  return mask // stretch


def read_gray(path):
  """Reads a gray image of 8 or 16 bits as shares of its greatest possible number.

  Returns:
    float64 [height, width], 0..1.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is truncated, no image, or not gray; names the file.
  """
  def convert(image):
    if image.mode not in ('1', 'L') and not image.mode.startswith('I'):
      raise ValueError(f'{path}: expected a gray image of 8 or 16 bits, but this is {image.mode}')
    greatest = {'1': 1, 'L': 255}.get(image.mode, 65535)
    return np.array(image).astype(np.float64) / greatest

  return _open(path, convert)[0]


def write_png(path, array, palette=None):
  """Writes an array as PNG; the file appears whole or not at all.

  Args:
    path: str or path; the folder is made if need be.
    array: uint8 [height, width] or [height, width, 3], or uint16 [height, width].
    palette: None, or uint8 [colours, 3]: a uint8 [height, width] array is then written as indices
      into it; indices beyond it, such as an ignore label, get VOC's colours.

  Raises:
    ValueError: another dtype or shape.
  """
  array = np.asarray(array)
  kind = array.dtype.name + ('' if array.ndim == 2 else str(list(array.shape[2:])))
  if kind not in (['uint8', 'uint16', 'uint8[3]'] if palette is None else ['uint8']):
    raise ValueError(f'{path}: cannot write {array.dtype} {array.shape} as PNG')
  image = Image.fromarray(array)
  if palette is not None:
    # All 256 colours: for fewer of them Pillow would keep only the lowest bits of the indices.
    image.putpalette(colors.extend_palette(palette).tobytes())
  with files.replacing(path) as file:
    image.save(file, format='PNG')


def legacy_coordinates(size, resized_size):
  """Where TF1 samples an axis (align_corners=False, no half pixels).

  Args:
    size: int, the axis's size.
    resized_size: int, its size after resizing.

  Returns:
    float32 [resized_size], in pixels of the axis, from 0 up.
  """
  return np.arange(resized_size, dtype=np.float32) * (np.float32(size) / np.float32(resized_size))


def nearest_indices(coordinates, size):
  """Indices that TF1's nearest neighbour takes at `coordinates`: int64, 0..size-1."""
  return np.minimum(np.floor(coordinates).astype(np.int64), size - 1)


def bilinear_at(image, rows, columns):
  """Samples an image on the grid `rows` x `columns` as TF1's bilinear resizing does.

  Args:
    image: [height, width, channels], any real dtype.
    rows, columns: float32 [h] and [w], coordinates in pixels: those of `legacy_coordinates`, or a
      part of them in any order, which makes crops and flips cheap.

  Returns:
    float32 [h, w, channels].
  """
  top, bottom, down = _neighbours(rows, image.shape[0])
  left, right, across = _neighbours(columns, image.shape[1])
  # Across first, as TF does, so that the rounding is the same too; only the needed rows.
  first, last = top.min(), bottom.max()
  channels = image.shape[2]
  band = image[first:last + 1].reshape(last + 1 - first, -1)

  def columns_at(places):
    # The channels as columns of their own: half the time of taking triples.
    places = (places[:, None] * channels + np.arange(channels)).ravel()
    return np.take(band, places, axis=1).astype(np.float32)

  def between(near, far, share):
    far -= near
    far *= share
    far += near
    return far

  rows_there = between(columns_at(left), columns_at(right), np.repeat(across, channels))
  result = between(
      np.take(rows_there, top - first, axis=0), np.take(rows_there, bottom - first, axis=0),
      down[:, None])
  return result.reshape(len(top), len(left), channels)


def _neighbours(coordinates, size):
  """The two pixels around each coordinate and the weight of the second."""
  lower = np.floor(coordinates)
  first = np.minimum(lower.astype(np.int64), size - 1)
  return first, np.minimum(first + 1, size - 1), coordinates - lower


def resize_bilinear_legacy(image, size):
  """TF1's bilinear resizing of [height, width, channels] to `size` (height, width): float32."""
  height, width = image.shape[:2]
  return bilinear_at(image, legacy_coordinates(height, size[0]), legacy_coordinates(width, size[1]))


def resize_nearest_legacy(array, size):
  """TF1's nearest resizing of [height, width, ...] to `size` (height, width), of the same dtype."""
  height, width = array.shape[:2]
  rows = nearest_indices(legacy_coordinates(height, size[0]), height)
  columns = nearest_indices(legacy_coordinates(width, size[1]), width)
  return array[rows[:, None], columns]
