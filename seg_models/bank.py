"""The bank: labelled prototypes of a data set, on disk and in memory."""

import dataclasses
import hashlib
import pathlib
import zipfile

import numpy as np

from network.segsort.compression import LARGEST, STORAGES, compress, decompress
from utils import files

FEATURES = 'prototype_features.npy'
LABELS = 'prototype_labels.npy'
INFO = 'prototype_info.npz'
INDEX = 'prototype_index.npz'  # see seg_models/bank_index.py
FILES = (FEATURES, LABELS, INFO, INDEX)
KNOWN = ('image', 'cluster', 'pixels', 'box')  # of a segment, beside its class
REMEDY = 'extract the prototypes anew'
_ROWS = 1 << 16  # of a bank that are converted or looked at together
# Lengths differ from 1 by rounding only; of int8 the greatest component is `LARGEST`.
_TOLERANCE = {'float32': 1e-3, 'float16': 2e-3}


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
  """P prototypes and, where known, the segments that they come from.

  Attributes:
    features: [P, D], unit length; float32, or what `network.segsort.compression.compress` makes of
      it, maybe mapped from a file and only to be read.
    labels: int32 [P], semantic classes.
    images: str [I], paths of images in the data folder, or None (in a bank of the original's).
    image: int32 [P], place in `images` of the image that each prototype is of, or None.
    cluster: int32 [P], id of the segment within its image, or None.
    pixels: int64 [P], number of pixels that the prototype is the mean direction of, or None.
    box: int32 [P, 4], (top, left, bottom, right) of these pixels, the last two exclusive, or
      None.
  """

  features: np.ndarray
  labels: np.ndarray
  images: np.ndarray | None = None
  image: np.ndarray | None = None
  cluster: np.ndarray | None = None
  pixels: np.ndarray | None = None
  box: np.ndarray | None = None

  def __post_init__(self):
    if self.features.ndim != 2 or self.labels.shape != self.features.shape[:1]:
      raise ValueError(f'a bank is features [P, D] and labels [P], not {self.features.shape} and '
                       f'{self.labels.shape}')
    for name in KNOWN:
      values = getattr(self, name)
      if values is not None and len(values) != len(self.labels):
        raise ValueError(f'{len(values)} values of {name} for {len(self.labels)} prototypes')
    if (self.images is None) != (self.image is None):
      raise ValueError('images and the place of each prototype in them belong together')
    if self.image is not None and not np.all((self.image >= 0) & (self.image < len(self.images))):
      raise ValueError(f'prototypes are of more than the {len(self.images)} images')

  def __len__(self):
    return len(self.labels)

  @property
  def dim(self):
    return self.features.shape[1]

  @property
  def info(self):
    """What is known of the segments: name of the attribute -> values."""
    values = {name: getattr(self, name) for name in ('images', *KNOWN)}
    return {name: value for name, value in values.items() if value is not None}

  def fingerprint(self):
    """16 hex digits that change with the features and labels."""
    digest = hashlib.sha256(np.ascontiguousarray(self.features))
    digest.update(np.ascontiguousarray(self.labels, np.int32))
    return digest.hexdigest()[:16]

  def blocks(self, storage, order=None):
    """Yields the features in pieces, as a storage holds them.

    Args:
      storage: one of `network.segsort.compression.STORAGES`.
      order: int [P], the prototypes' new order, or None.
    """
    for begin in range(0, len(self), _ROWS):
      rows = slice(begin, begin + _ROWS)
      block = self.features[rows if order is None else order[rows]]
      yield block if block.dtype == storage else compress(decompress(block).numpy(), storage)


def empty_bank(dim):
  """A bank without prototypes, to be joined to others."""
  return Bank(np.zeros([0, dim], np.float32), np.zeros([0], np.int32), np.zeros([0], str),
              np.zeros([0], np.int32), np.zeros([0], np.int32), np.zeros([0], np.int64),
              np.zeros([0, 4], np.int32))


def write_bank(folder, shape, storage, blocks, labels, info):
  """Writes the original's `prototype_features.npy` and `prototype_labels.npy`, and the info.

  The features come last: where they are, the bank is complete. They go to the file block by block.

  Args:
    folder: where to.
    shape: (P, D).
    storage: one of `network.segsort.compression.STORAGES`.
    blocks: iterable of [n, D] of this type, P rows in all.
    labels: int [P]; like the info, it may be filled in while the blocks are made.
    info: dict, see `Bank.info`.
  """
  folder = pathlib.Path(folder)
  with files.replacing(folder / FEATURES) as file:
    np.lib.format.write_array_header_1_0(file, {
        'descr': np.lib.format.dtype_to_descr(np.dtype(storage)), 'fortran_order': False,
        'shape': tuple(shape)})
    for block in blocks:
      file.write(np.ascontiguousarray(block))
    with files.replacing(folder / INFO) as info_file:
      np.savez(info_file, **info)
    with files.replacing(folder / LABELS) as labels_file:
      np.save(labels_file, labels.astype(np.int32, copy=False), allow_pickle=False)


def save_bank(bank, folder, storage='float32'):
  """Writes a bank's files; see `write_bank`."""
  write_bank(folder, bank.features.shape, storage, bank.blocks(storage), bank.labels, bank.info)


def find_bank(folder):
  """The folder of a bank's files, which may be `prototypes/` in the one given.

  Raises:
    FileNotFoundError: there is no bank.
  """
  folder = pathlib.Path(folder)
  if not (folder / FEATURES).exists() and (folder / 'prototypes' / FEATURES).exists():
    folder = folder / 'prototypes'
  for name in (FEATURES, LABELS):
    if not (folder / name).exists():
      raise FileNotFoundError(
          f'{folder / name} is missing: make the bank with extract_prototypes.py (an interrupted '
          'run of it is finished by the same command)')
  return folder


def load_bank(folder, info=True):
  """Opens a bank that `extract_prototypes.py`, this one or the original's, has written.

  The features are mapped, not read: their memory is the file's own, which all processes share and
  the system takes back where it is scarce.

  Args:
    folder: the folder of the files, or the one above it (`--save_dir` of the extraction).
    info: whether what is known of the segments is read.

  Raises:
    FileNotFoundError: there is no bank.
    ValueError: the files do not belong together, are damaged, or hold what is no unit vector.
  """
  folder = find_bank(folder)
  labels = _load(folder / LABELS)
  if not labels.size:
    raise ValueError(f'{folder / LABELS} is empty: {REMEDY}')
  features = _load(folder / FEATURES, 'r')
  if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
    raise ValueError(f'{folder}: {FEATURES} is {features.shape} and {LABELS} {labels.shape}, '
                     f'expected [P, D] and [P]: {REMEDY}')
  if not np.issubdtype(labels.dtype, np.integer) or (labels < 0).any():
    raise ValueError(f'{folder / LABELS}: labels are classes from 0 on, not {labels.dtype} from '
                     f'{labels.min()}: {REMEDY}')
  if not (features.dtype in STORAGES or np.issubdtype(features.dtype, np.floating)):
    raise ValueError(f'{folder / FEATURES}: prototypes are {", ".join(STORAGES)}, not '
                     f'{features.dtype}: {REMEDY}')
  if features.dtype not in STORAGES or not features.flags.c_contiguous:
    storage = features.dtype if features.dtype in STORAGES else np.float32
    features = np.ascontiguousarray(features, storage)
  _check_lengths(features, folder / FEATURES)
  info = _load_info(folder / INFO) if info and (folder / INFO).exists() else {}
  try:
    return Bank(features, labels.astype(np.int32, copy=False), **info)
  except (ValueError, TypeError) as error:
    raise ValueError(f'{folder / INFO} belongs to another bank ({error}): {REMEDY}') from error


def _check_lengths(features, path):
  """Raises a ValueError where rows are no unit vectors, nor what is made of them."""
  count, first = 0, None
  for begin in range(0, len(features), _ROWS):
    rows = features[begin:begin + _ROWS].astype(np.float32)
    lengths = np.sqrt(np.einsum('pd,pd->p', rows, rows))
    if features.dtype == np.int8:
      right = np.abs(rows).max(axis=1) == LARGEST
    else:
      right = np.abs(lengths - 1) < _TOLERANCE[features.dtype.name]  # a NaN is not below
    wrong = np.flatnonzero(~right)
    count += len(wrong)
    if len(wrong) and first is None:
      first = begin + wrong[0], lengths[wrong[0]]
  if count:
    raise ValueError(f'{path}: {count} of {len(features)} prototypes are no unit vectors (row '
                     f'{first[0]} has length {first[1]:.6g}): {REMEDY}')


def save_part(bank, path):
  """Writes the prototypes of one image, perhaps none, as one file."""
  with files.replacing(path) as file:
    np.savez(file, features=bank.features, labels=bank.labels, **bank.info)


def load_part(path):
  """Reads what `save_part` has written; a damaged file is a ValueError."""
  return Bank(**_load_info(path))


def part_size(path):
  """The number of prototypes in what `save_part` has written; a damaged file is a ValueError."""
  return len(_load_archive(path, ['labels'])['labels'])


def _load(path, mode=None):
  try:
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))
  except (ValueError, EOFError) as error:
    raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error


def _load_info(path):
  """An archive's arrays; older ones hold the path of its image with every prototype."""
  values = _load_archive(path)
  if values.get('image', np.zeros(0)).dtype.kind == 'U':
    images, first, place = np.unique(values['image'], return_index=True, return_inverse=True)
    order = np.argsort(first)  # that in which they first appear
    values['images'] = images[order]
    values['image'] = np.argsort(order).astype(np.int32)[place]
  return values


def _load_archive(path, names=None):
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
      return {name: archive[name] for name in names or archive.files}
  except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error
