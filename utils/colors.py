"""Colours of classes, and pictures of labels."""

import io
import pathlib

import numpy as np
import scipy.io


def voc_palette(size=256):
  """The colours of PASCAL VOC by their bit formula.

  The lowest three bits of an id are the highest bits of red, green and blue, the next three bits
  the ones below, and so on, so that every id has a colour of its own.

  Args:
    size: number of colours.

  Returns:
    uint8 [size, 3].
  """
  ids = np.arange(size)
  palette = np.zeros((size, 3), np.uint8)
  for bit in range(8):
    for channel in range(3):
      palette[:, channel] |= ((ids >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
  return palette


def extend_palette(palette):
  """`palette` (uint8 [colours, 3], at most 256) and VOC's colours after it: uint8 [256, 3]."""
  palette = np.asarray(palette, np.uint8)
  return np.concatenate([palette, voc_palette()[len(palette):]])


def colorize(labels, palette):
  """Paints labels.

  Args:
    labels: integer [...], 0..255.
    palette: uint8 [colours, 3]; ids beyond it, such as the ignore label, get VOC's colours.

  Returns:
    uint8 [..., 3].

  Raises:
    ValueError: a label below 0 or above 255.
  """
  labels = np.asarray(labels)
  if labels.size and (labels.min() < 0 or labels.max() > 255):
    raise ValueError(f'labels {labels.min()} to {labels.max()} have no colour: expected 0 to 255')
  return extend_palette(palette)[labels]


def overlay(image, colored, opacity=0.5):
  """Blends a painted label map over an image: uint8 [..., 3] of both (uint8 of the same shape)."""
  mixed = (1 - opacity) * np.asarray(image, np.float32) + opacity * np.asarray(colored, np.float32)
  return np.round(mixed).astype(np.uint8)


def outlined(image, ids, color=(255, 255, 0)):
  """Draws the borders between regions, one pixel wide: on the pixels above or left of them.

  Args:
    image: uint8 [height, width, 3].
    ids: integer [height, width]; neighbours with different ids are in different regions.
    color: uint8 [3] of the lines.

  Returns:
    uint8 [height, width, 3].
  """
  border = np.zeros(ids.shape, bool)
  border[:-1] |= ids[:-1] != ids[1:]
  border[:, :-1] |= ids[:, :-1] != ids[:, 1:]
  return np.where(border[..., None], np.array(color, np.uint8), image)


def load_colormap(path):
  """Reads a colour map in MATLAB's format, such as the original's misc/colormapvoc.mat.

  Args:
    path: a .mat file with one array [colours, 3], at most 256 colours, in 0..1 (floats) or 0..255.

  Returns:
    uint8 [colours, 3].

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged or no MATLAB file, or does not hold exactly one such array; names it
      and what it holds.
  """
  remedy = 'leave --colormap out for the built-in colours'
  content = io.BytesIO(pathlib.Path(path).read_bytes())
  try:
    content = scipy.io.loadmat(content)
  except Exception as error:  # foreign bytes make SciPy's reader raise anything
    raise ValueError(f'{path} is damaged or no MATLAB file ({error}): {remedy}') from error
  arrays = {name: value for name, value in content.items() if name[:2] != '__'}
  maps = [value for value in arrays.values()
          if value.ndim == 2 and value.shape[1] == 3 and 0 < len(value) <= 256
          and value.dtype.kind in 'iuf']
  if len(maps) != 1 or not (maps[0].min() >= 0 and maps[0].max() <= 255):
    shapes = {name: value.shape for name, value in arrays.items()}
    raise ValueError(f'{path}: expected one colour map [at most 256, 3] in 0..1 or 0..255, '
                     f'found {shapes}; {remedy}')
  values = maps[0]
  scale = 255 if values.dtype.kind == 'f' and values.max() <= 1 else 1
  return np.round(values * float(scale)).astype(np.uint8)
