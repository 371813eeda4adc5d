"""The images of a run without labels: of a list or of a folder, whole or in five crops."""

import dataclasses
import pathlib

import numpy as np

from seg_models.frozen.geometry import FIVE, crop_box
from seg_models.image_reader import Entry, load_example, read_list
from utils import resuming

ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


@dataclasses.dataclass(frozen=True)
class View:
  """An image, or one of five crops of it."""
  entry: Entry
  crop: int | None = None

  @property
  def id(self):
    return self.entry.id if self.crop is None else f'{self.entry.id}#{self.crop}'


def find_images(directory):
  """The images in a folder and those below it as entries without masks, sorted by their paths.

  An entry's id is its path in the folder without the ending. Other files are left alone.

  Raises:
    FileNotFoundError: there is no such folder, or no image in it.
    ValueError: two images differ in their endings only: results are named without.
  """
  root = pathlib.Path(directory)
  if not root.is_dir():
    raise FileNotFoundError(f'--images {directory}: there is no such folder')
  paths = [path for path in sorted(root.rglob('*'))
           if path.suffix.lower() in ENDINGS and path.is_file()
           and not any(part.startswith('.') for part in path.relative_to(root).parts)]
  if not paths:
    raise FileNotFoundError(f'--images {directory}: no image ({", ".join(ENDINGS)}) there or below')
  entries, seen = [], {}
  for path in paths:
    name = path.relative_to(root).with_suffix('').as_posix()
    if name in seen:
      raise ValueError(f'--images {directory}: {seen[name].name} and {path.name} would have '
                       'results of the same name: rename one of them')
    seen[name] = path
    entries.append(Entry(str(path), None, None, name))
  return entries


def find_entries(images, data_list, data_dir, *, unique_ids=False):
  """The entries of a folder of images or of a list file, whichever is given.

  Masks are looked for where the list names them, and need not be named.

  Raises:
    ValueError: none or both are given; or some images have masks and some have none.
    What `find_images` and `read_list` raise.
  """
  if bool(images) == bool(data_list):
    raise ValueError('which images? Give --images FOLDER, or --data_list FILE (with --data_dir)')
  if images:
    return find_images(images)
  entries = read_list(data_list, data_dir, need_mask=False, unique_ids=unique_ids)
  without = [entry.image for entry in entries if entry.mask is None]
  if 0 < len(without) < len(entries):
    raise ValueError(f'{data_list}: {len(without)} of {len(entries)} lines name no mask, that of '
                     f'{without[0]} for one: give masks to all or to none')
  if has_masks(entries):
    read_list(data_list, data_dir)  # which says what is missing
  return entries


def has_masks(entries):
  """Whether every image has a mask."""
  return all(entry.mask is not None for entry in entries)


def views_of(entries, crops='one'):
  """Every image, or with `crops` 'five' its five crops one after the other."""
  numbers = (None,) if crops == 'one' else range(FIVE)
  return [View(entry, number) for entry in entries for number in numbers]


def load_view(view, geometry, dataset=None, stride=1):
  """What the trunk is shown of a view.

  Args:
    view: `View`.
    geometry: `Geometry`.
    dataset: None, or the `seg_models.datasets.Dataset` that its labels are of.
    stride: see `Geometry.image`.

  Returns:
    image: uint8 [h, w, 3].
    label: int32 [h, w], -1 where it does not count; None without `dataset`.

  Raises:
    FileNotFoundError, ValueError: see `seg_models.image_reader.load_example`; or an image is too
      small for crops.
  """
  example = load_example(view.entry, dataset, need_mask=dataset is not None)
  try:
    top, left, bottom, right = crop_box(example.image.shape[:2], view.crop)
  except ValueError as error:
    raise ValueError(f'{view.entry.image}: {error}: leave it out, or give --crops one') from error
  part = np.s_[top:bottom, left:right]
  image = geometry.image(example.image[part], stride)
  if dataset is None:
    return image, None
  label = geometry.label(example.label[part])
  return image, np.where(label == dataset.ignore_label, -1, label)


def sources_of(views, masks=False):
  """What views are made from, as JSON: a crop, and when and where its file was written, of each."""
  stamps = {}

  def stamp(path):
    if path not in stamps:
      stamps[path] = resuming.stamp(path)
    return stamps[path]

  return [[stamp(view.entry.mask if masks else view.entry.image), view.crop] for view in views]
