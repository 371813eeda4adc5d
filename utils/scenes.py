"""Drawn scenes with labels: a data set for the demo and for tests, made from nothing but a seed.

Objects lie on a smooth background. What a pixel belongs to is told by texture and shape: every
object has two random colours, drawn from the same distribution for all classes, and plain shapes
without texture are background.
"""

import io
import os
import pathlib
import shutil

import numpy as np
from PIL import Image

from utils import colors, files, images

CLASSES = ('background', 'stripes', 'checks', 'dots', 'rings', 'noise')
VOID = 255
_VERSION = 1  # of the drawing: other scenes for the same seed need another number


def draw_scene(rng, height, width):
  """Draws one scene.

  Args:
    rng: `numpy.random.Generator`.
    height, width: its size in pixels.

  Returns:
    image uint8 [height, width, 3]; label uint8 [height, width], indices into `CLASSES`, and 255
    along the outline of objects, one pixel wide on either side.
  """
  first, second = _two_colors(rng, contrast=0)
  rows, columns = np.mgrid[:height, :width].astype(np.float64)
  slope = _rotated(rows / height, columns / width, rng.uniform(0, 2 * np.pi))[0]
  image = first + (second - first) * np.clip(slope, 0, 1)[..., None]
  label = np.zeros((height, width), np.uint8)
  outline = np.zeros((height, width), bool)

  objects = [0] * int(rng.integers(0, 3)) + list(rng.permutation(np.arange(1, len(CLASSES)))[
      :rng.integers(2, 5)])
  for index in rng.permutation(objects):
    radius = rng.uniform(0.2, 0.34) * min(height, width)
    centre = rng.uniform(0.12, 0.88, 2) * (height, width)
    y, x = _rotated(rows - centre[0], columns - centre[1], rng.uniform(0, 2 * np.pi))
    inside = _shape(index or int(rng.integers(1, len(CLASSES))), y / radius, x / radius, rng)
    first, second = _two_colors(rng, contrast=110)
    pattern = _texture(index, y, x, rng)[..., None]
    image = np.where(inside[..., None], first + (second - first) * pattern, image)
    label[inside] = index
    # A plain shape hides the outlines behind it, and has none of its own: it is background.
    outline[inside] = False
    if index:
      outline |= _edge(inside)
  label[outline] = VOID
  image += rng.normal(0, 4, image.shape)
  return np.clip(np.round(image), 0, 255).astype(np.uint8), label


def _two_colors(rng, contrast):
  """Two random colours whose brightness differs by at least `contrast` of 255: float64 [3] each."""
  while True:
    first, second = rng.uniform(0, 255, (2, 3))
    if abs(first.mean() - second.mean()) >= contrast:
      return first, second


def _rotated(y, x, angle):
  return np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x


def _shape(index, y, x, rng):
  """Which pixels are inside the shape of a class; coordinates in units of its radius."""
  if CLASSES[index] == 'stripes':  # disc
    return y * y + x * x < 1
  if CLASSES[index] == 'checks':  # square
    return np.maximum(abs(y), abs(x)) < 0.85
  if CLASSES[index] == 'dots':  # triangle
    return np.maximum(y, abs(x) * np.sqrt(3) / 2 - y / 2) < 0.6
  if CLASSES[index] == 'rings':  # hexagon
    slanted = abs(x) * np.sqrt(3) / 2 + abs(y) / 2
    return np.maximum(abs(y), slanted) < 0.87
  angle, edge = np.arctan2(y, x), 0.8  # blob
  for wave in range(2, 6):
    edge = edge + rng.uniform(0, 0.3 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
  return np.hypot(y, x) < edge


def _texture(index, y, x, rng):
  """Where the second colour is, 0..1; coordinates in pixels."""
  period = rng.uniform(6, 9)
  name = CLASSES[index]
  if name == 'stripes':
    return (y % period < period / 2).astype(float)
  if name == 'checks':
    return ((y % period < period / 2) ^ (x % period < period / 2)).astype(float)
  if name == 'dots':
    return (np.hypot(y % period - period / 2, x % period - period / 2) < 0.3 * period).astype(float)
  if name == 'rings':
    return (np.hypot(y, x) % period < period / 2).astype(float)
  if name == 'noise':
    return rng.integers(0, 2, y.shape).astype(float)
  return np.clip(y / np.ptp(y) + 0.5, 0, 1)  # a plain shape: a slope


def _edge(inside):
  """The pixels on either side of the border of `inside`, among four neighbours."""
  edge = np.zeros_like(inside)
  for axis in (0, 1):
    change = np.diff(inside, axis=axis)
    before = [(0, int(axis == 0)), (0, int(axis == 1))]
    edge |= np.pad(change, before) | np.pad(change, [pair[::-1] for pair in before])
  return edge


def write_scenes(folder, seed=0, train=120, val=40):
  """Writes scenes in the layout of VOC, or leaves them as they are if they are there already.

  JPEGImages/<id>.jpg, segcls/<id>.png (with palette), train.txt and val.txt with lines `image mask`
  relative to the folder, classes.txt, and scenes.json, which says how they were made. The folder
  appears when all of it is written.

  Args:
    folder: path; its parent is made if need be.
    seed: non-negative int; a scene depends on it and on its place in its split.
    train, val: numbers of scenes.

  Returns:
    True if they were drawn, False if they were there.

  Raises:
    ValueError: the folder holds something else, or other scenes.
  """
  folder = pathlib.Path(folder)
  made_with = {'version': _VERSION, 'seed': seed, 'train': train, 'val': val}
  record = folder / 'scenes.json'
  if record.exists():
    if files.read_json(record) == made_with:
      return False
    raise ValueError(f'{record} is of other scenes ({files.read_json(record)}, not {made_with}): '
                     'remove the folder or name another')
  if folder.exists() and any(folder.iterdir()):
    raise ValueError(f'{folder} holds something else already: name another folder')
  partial = folder.parent / f'.{folder.name}.partial'
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  for split, (name, count) in enumerate([('train', train), ('val', val)]):
    lines = []
    for index in range(count):
      rng = np.random.default_rng([seed, split, index])
      image, label = draw_scene(rng, int(rng.integers(104, 137)), int(rng.integers(136, 177)))
      paths = f'JPEGImages/{name}_{index:04}.jpg', f'segcls/{name}_{index:04}.png'
      encoded = io.BytesIO()
      Image.fromarray(image).save(encoded, 'JPEG', quality=92)
      with files.replacing(partial / paths[0]) as file:
        file.write(encoded.getvalue())
      images.write_png(partial / paths[1], label, colors.voc_palette())
      lines.append(' '.join(paths) + '\n')
    (partial / f'{name}.txt').write_text(''.join(lines))
  (partial / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
  files.write_json(partial / 'scenes.json', made_with)
  if folder.exists():
    folder.rmdir()
  os.replace(partial, folder)
  return True
