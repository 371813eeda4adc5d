"""From list files to images: checked lists, decoded examples, and endless batches for training."""

import dataclasses
import functools
import itertools
import os

import numpy as np

from seg_models.augmentation import AugmentationConfig, augment
from seg_models.label_checks import check_labels, check_sizes
from utils import images
from utils.background import map_ahead

_SHOWN_FILES = 100  # of the missing ones; the message has to stay readable


@dataclasses.dataclass(frozen=True)
class Entry:
  """One line of a list file: paths (str), and the image's name without folder and ending."""
  image: str
  mask: str | None
  oversegmentation: str | None
  id: str


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
  """One image with what is known of its pixels.

  Attributes:
    entry: `Entry`.
    image: uint8 [height, width, 3].
    label: int32 [height, width], checked classes and the ignore label; or None.
    oversegmentation: int32 [height, width], ids of segments, 0 and up; or None.
  """
  entry: Entry
  image: np.ndarray
  label: np.ndarray | None
  oversegmentation: np.ndarray | None


def read_list(
    data_list, data_dir='', *, need_image=True, need_mask=True, need_oversegmentation=False,
    unique_ids=False):
  """Reads a list file with lines `image [mask [oversegmentation]]`, separated by any whitespace.

  Deviates from the original: a last line without newline counts, several spaces separate like one,
  and `data_dir` needs no trailing slash. As there, every path is relative to `data_dir` where one
  is given, a path with a leading slash too.

  Args:
    data_list: path of the list file, in UTF-8.
    data_dir: folder that the paths are relative to; '' for the current one.
    need_image: the images have to exist.
    need_mask: each line has to name a mask, and the masks have to exist.
    need_oversegmentation: likewise for the third column.
    unique_ids: no two images may have the same id, since results are named after it; training may
      repeat a line, and take equal names from several folders.

  Returns:
    List of `Entry`, in the list's order.

  Raises:
    FileNotFoundError: the list or files that it names are missing; all of them are listed.
    ValueError: an empty list, a line with too few or too many columns, or an id that is not unique.
  """
  if not os.path.isfile(data_list):
    raise FileNotFoundError(f'{data_list}: there is no such list file (--data_list)')
  entries, lines = [], {}
  with open(data_list, encoding='utf-8-sig') as file:
    for number, line in enumerate(file, 1):
      columns = line.split()
      if not columns:
        continue
      needed = 3 if need_oversegmentation else 2 if need_mask else 1
      if not needed <= len(columns) <= 3:
        raise ValueError(f'{data_list}, line {number}: {len(columns)} columns, expected '
                         f'`image{" mask" * (needed > 1)}{" oversegmentation" * (needed > 2)}` '
                         f'(at most 3, without spaces in a path): {line.strip()!r}')
      paths = [os.path.join(data_dir, path.lstrip('/')) if data_dir else path for path in columns]
      paths += [None] * (3 - len(paths))
      name = os.path.splitext(os.path.basename(paths[0]))[0]
      if unique_ids and name in lines:
        raise ValueError(f'{data_list}: lines {lines[name]} and {number} both have an image named '
                         f'{name}, and predictions are named after the images: list each once, or '
                         'rename one')
      lines[name] = number
      entries.append(Entry(*paths, name))
  if not entries:
    raise ValueError(f'{data_list}: the list is empty')
  needed = [entry.image for entry in entries if need_image]
  needed += [entry.mask for entry in entries if need_mask]
  needed += [entry.oversegmentation for entry in entries if need_oversegmentation]
  _check_files(needed, data_list, data_dir)
  return entries


def _check_files(needed, data_list, data_dir):
  missing = [path for path in needed if not os.path.isfile(path)]
  if missing:
    shown = missing[:_SHOWN_FILES]
    if len(missing) > len(shown):
      shown.append(f'... and {len(missing) - len(shown)} more')
    raise FileNotFoundError(
        f'{data_list} names {len(missing)} files that do not exist, of {len(needed)} (its paths '
        f'are relative to --data_dir {data_dir!r}):\n  ' + '\n  '.join(shown))


def load_example(entry, dataset, need_mask=True, max_regions=None):
  """Decodes and checks the files of one list line.

  Args:
    entry: `Entry`.
    dataset: `seg_models.datasets.Dataset`.
    need_mask: read the mask too.
    max_regions: None, or how many regions an oversegmentation may have; it is then read too, and
      its ids, whatever they are, become 0, 1, ... in their order.

  Returns:
    `Example`; what was not asked for is None.

  Raises:
    FileNotFoundError, ValueError: a file is missing, truncated, of another size than the image, or
      holds labels that the data set does not have; names the file.
  """
  image = images.read_image(entry.image)
  label = oversegmentation = None
  if need_mask:
    label = dataset.from_file(images.read_mask(entry.mask), entry.mask)
    check_sizes(image, label, entry.image, entry.mask)
    check_labels(label, dataset, entry.mask)
  if max_regions is not None:
    ids = images.read_mask(entry.oversegmentation)
    check_sizes(image, ids, entry.image, entry.oversegmentation)
    known, compact = np.unique(ids, return_inverse=True)
    if len(known) > max_regions:
      raise ValueError(f'{entry.oversegmentation}: {len(known)} regions, more than --max_regions '
                       f'{max_regions}: raise it, or make coarser oversegmentations')
    oversegmentation = compact.reshape(ids.shape).astype(np.int32)
  return Example(entry, image, label, oversegmentation)


def iterate_examples(entries, dataset, need_mask=True, max_regions=None, *, prefetch=4):
  """Yields `load_example` of each entry in order, decoding up to `prefetch` in the background."""
  load = functools.partial(
      load_example, dataset=dataset, need_mask=need_mask, max_regions=max_regions)
  return map_ahead(load, entries, prefetch)


def training_batches(
    entries, dataset, augmentation: AugmentationConfig, batch_size, seed, first_step=0, *,
    share=(0, 1), cache=False, shuffle=True, need_mask=True, max_regions=None, prefetch=None,
    device=None):
  """Endless augmented batches, the same ones in every run.

  Batch s depends on (seed, s) alone, whatever the number of threads and whichever step a run starts
  with: each epoch is a permutation by (seed, epoch), batches cross the borders of epochs, and each
  image is augmented by (seed, place in the sequence).

  Args:
    entries: list of `Entry`.
    dataset: `seg_models.datasets.Dataset`.
    augmentation: `AugmentationConfig`; the crops are h x w.
    batch_size: images a batch, B.
    seed: non-negative int.
    first_step: the batch to begin with.
    share: (i, n) for the i-th of n equal parts of every batch, of which nothing else is read; B is
      then batch_size / n.
    cache: keep the decoded images in memory, 3 bytes a pixel and 4 more for each map.
    shuffle: False for the list's order.
    need_mask: False leaves the masks unread; every label is then the ignore label.
    max_regions: None, or the bound with which oversegmentations are read; see `load_example`.
    prefetch: batches that are made in the background, each by a thread of its own; by default one
      a core, and four at least.
    device: TensorFlow device that they are put on there; None for the default one.

  Yields:
    dict of tensors: image float32 [B, h, w, 3], RGB minus `MEAN_RGB`, 0 in padding; label int32
    [B, h, w], the ignore label in padding; valid bool [B, h, w], False in padding; location float32
    [B, h, w, 2], (row / height, column / width) in the original image; size int32 [B, 2], height
    and width of the original image; index int64 [B], the place in `entries`; and, when asked for,
    oversegmentation int32 [B, h, w], -1 in padding.

  Raises:
    What `load_example` raises, at the batch with the faulty file.
  """
  import tensorflow as tf  # seconds that tools for files and scores need not wait

  load = functools.partial(
      load_example, dataset=dataset, need_mask=need_mask, max_regions=max_regions)
  if cache:
    load = functools.cache(load)
  order = functools.lru_cache(maxsize=2)(
      lambda epoch: np.random.default_rng([seed, 0, epoch]).permutation(len(entries)))

  part, parts = share
  if batch_size % parts:
    raise ValueError(f'--batch_size {batch_size} cannot be divided into {parts} parts')
  offsets = range(part * batch_size // parts, (part + 1) * batch_size // parts)

  def make_example(place):
    epoch, index = divmod(place, len(entries))
    if shuffle:
      index = order(epoch)[index]
    example = load(entries[index])
    size = example.image.shape[:2]
    label = np.full(size, dataset.ignore_label) if example.label is None else example.label
    maps = {'label': (label, dataset.ignore_label)}
    if max_regions is not None:
      maps['oversegmentation'] = (example.oversegmentation, -1)
    crop = augment(example.image, maps, augmentation, np.random.default_rng([seed, 1, place]))
    return {**crop, 'size': np.array(size, np.int32), 'index': np.int64(index)}

  def make_batch(step):
    examples = [make_example(step * batch_size + offset) for offset in offsets]
    with tf.device(device):
      return {name: tf.convert_to_tensor(np.stack([example[name] for example in examples]))
              for name in examples[0]}

  if prefetch is None:
    prefetch = max(4, os.cpu_count() or 1)
  return map_ahead(make_batch, itertools.count(first_step), prefetch)
