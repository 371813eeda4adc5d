"""Copies of data sets at another scale."""

import os
import pathlib

import numpy as np

from seg_models.image_reader import load_example, read_list
from utils import files, images
from utils.background import map_ahead
from utils.opencv import cv2


def resize_image(image, size):
  """Shrinks an image by averaging over areas, or enlarges it bilinearly.

  Args:
    image: uint8 [height, width, 3].
    size: (height, width) of the result.

  Returns:
    uint8 [*size, 3].
  """
  height, width = size
  shrinks = height <= image.shape[0] and width <= image.shape[1]
  return cv2.resize(
      image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_labels(labels, size):
  """Resizes labels [height, width] to `size`: each pixel takes the label under its centre."""
  rows, columns = (np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
                   for old, new in zip(labels.shape, size, strict=True))
  return labels[rows[:, None], columns]


def write_resized_copy(data_list, data_dir, output_dir, scale, dataset):
  """Writes images and masks of a list at another scale, and the list itself.

  Files keep their paths relative to the data folder, images as PNG: `JPEGImages/x.jpg` becomes
  `JPEGImages/x.png`, so that nothing is lost to a second compression. Masks keep the numbers that
  they hold, checked against the data set. What is there already is kept, so that an interrupted
  call can be repeated; the list is written last.

  Args:
    data_list, data_dir: see `seg_models.image_reader.read_list`.
    output_dir: folder of the copy; the list keeps its name there.
    scale: factor of height and width; sizes are rounded to whole pixels.
    dataset: `seg_models.datasets.Dataset`.

  Returns:
    The numbers of images written and kept.

  Raises:
    ValueError: the scale is not positive, the copy would replace the originals, a path leads out of
      the data folder, two images lead to one file, the folder holds a copy at another scale, or a
      file is faulty.
    FileNotFoundError: files of the list are missing.
  """
  if not scale > 0:
    raise ValueError(f'--scale {scale}: must be above 0')
  output_dir = pathlib.Path(output_dir)
  source = pathlib.Path(data_dir).resolve()
  if output_dir.resolve() == source:
    raise ValueError(f'--output_dir {output_dir} is the data folder itself: name another')
  entries = read_list(data_list, data_dir)
  pairs = [(output_dir / _below(entry.image, data_dir).with_suffix('.png'),
            output_dir / _below(entry.mask, data_dir)) for entry in entries]
  sources = {}
  for entry, (image_path, _) in zip(entries, pairs, strict=True):
    if sources.setdefault(image_path, entry) != entry:
      raise ValueError(f'{data_list}: {sources[image_path].image} and {entry.image}, with their '
                       f'masks, would both become {image_path}: list one of them')
  record = output_dir / 'resized.json'
  made_with = {'scale': scale, 'data_dir': str(source), 'dataset': dataset.name}
  if record.exists() and files.read_json(record) != made_with:
    raise ValueError(f'{record} is of another copy ({files.read_json(record)}, not {made_with}): '
                     'remove the folder or name another')
  files.write_json(record, made_with)

  def copy(item):
    entry, (image_path, mask_path) = item
    if image_path.exists() and mask_path.exists():
      return False
    example = load_example(entry, dataset)
    size = [max(round(axis * scale), 1) for axis in example.label.shape]
    mask = resize_labels(images.read_mask(entry.mask), size)
    images.write_png(image_path, resize_image(example.image, size))
    images.write_png(mask_path, mask.astype(np.uint8 if mask.max() < 256 else np.uint16))
    return True

  written = sum(map_ahead(copy, zip(entries, pairs, strict=True)))
  with files.replacing(output_dir / os.path.basename(data_list), 'w') as file:
    for image_path, mask_path in pairs:
      file.write(f'{image_path.relative_to(output_dir)} {mask_path.relative_to(output_dir)}\n')
  return written, len(entries) - written


def _below(path, folder):
  """`path` relative to `folder`; a ValueError if it is not in it."""
  relative = pathlib.Path(os.path.relpath(path, folder))
  if relative.parts[0] == '..':
    raise ValueError(f'{path} is not in --data_dir {folder}, its place in the copy is unknown')
  return relative
