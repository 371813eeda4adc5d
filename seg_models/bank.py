"""The bank: labelled prototypes of a data set, on disk and in memory."""

import dataclasses
import hashlib
import pathlib
import zipfile

import numpy as np

from utils import files

FEATURES = 'prototype_features.npy'
LABELS = 'prototype_labels.npy'
INFO = 'prototype_info.npz'
KNOWN = ('image', 'cluster', 'pixels', 'box')  # of a segment, beside its class
REMEDY = 'extract the prototypes anew'


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
  """P prototypes and, where known, the segments that they come from.

  Attributes:
    features: float32 [P, D], unit length.
    labels: int32 [P], semantic classes.
    image: str [P], the image's path in the data folder, or None (in a bank of the original's).
    cluster: int32 [P], id of the segment within its image, or None.
    pixels: int64 [P], number of pixels that the prototype is the mean direction of, or None.
    box: int32 [P, 4], (top, left, bottom, right) of these pixels, the last two exclusive, or
      None.
  """

  features: np.ndarray
  labels: np.ndarray
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

  def __len__(self):
    return len(self.labels)

  @property
  def dim(self):
    return self.features.shape[1]

  def fingerprint(self):
    """16 hex digits that change with the features and labels."""
    digest = hashlib.sha256(np.ascontiguousarray(self.features, np.float32))
    digest.update(np.ascontiguousarray(self.labels, np.int32))
    return digest.hexdigest()[:16]


def empty_bank(dim):
  """A bank without prototypes, to be joined to others."""
  return Bank(np.zeros([0, dim], np.float32), np.zeros([0], np.int32), np.zeros([0], str),
              np.zeros([0], np.int32), np.zeros([0], np.int64), np.zeros([0, 4], np.int32))


def join_banks(banks):
  """One bank from several, in their order; what not all of them know is left out."""
  def joined(name):
    values = [getattr(bank, name) for bank in banks]
    return None if any(value is None for value in values) else np.concatenate(values)
  return Bank(**{field.name: joined(field.name) for field in dataclasses.fields(Bank)})


def save_bank(bank, folder):
  """Writes the original's `prototype_features.npy` and `prototype_labels.npy`, and the info.

  The features come last: where they are, the bank is complete.
  """
  folder = pathlib.Path(folder)
  info = {name: getattr(bank, name) for name in KNOWN}
  with files.replacing(folder / INFO) as file:
    np.savez(file, **{name: value for name, value in info.items() if value is not None})
  with files.replacing(folder / LABELS) as file:
    np.save(file, bank.labels.astype(np.int32), allow_pickle=False)
  with files.replacing(folder / FEATURES) as file:
    np.save(file, bank.features.astype(np.float32), allow_pickle=False)


def load_bank(folder):
  """Reads a bank that `extract_prototypes.py`, this one or the original's, has written.

  Args:
    folder: the folder of the files, or the one above it (`--save_dir` of the extraction).

  Raises:
    FileNotFoundError: there is no bank.
    ValueError: the files do not belong together, are damaged, or hold what is no unit vector.
  """
  folder = pathlib.Path(folder)
  if not (folder / FEATURES).exists() and (folder / 'prototypes' / FEATURES).exists():
    folder = folder / 'prototypes'
  for name in (FEATURES, LABELS):
    if not (folder / name).exists():
      raise FileNotFoundError(
          f'{folder / name} is missing: make the bank with extract_prototypes.py (an interrupted '
          'run of it is finished by the same command)')
  features = _load(folder / FEATURES)
  labels = _load(folder / LABELS)
  if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
    raise ValueError(f'{folder}: {FEATURES} is {features.shape} and {LABELS} {labels.shape}, '
                     f'expected [P, D] and [P]: {REMEDY}')
  if not len(labels):
    raise ValueError(f'{folder / LABELS} is empty: {REMEDY}')
  if not np.issubdtype(labels.dtype, np.integer) or (labels < 0).any():
    raise ValueError(f'{folder / LABELS}: labels are classes from 0 on, not {labels.dtype} from '
                     f'{labels.min()}: {REMEDY}')
  features = features.astype(np.float32)
  norms = np.linalg.norm(features, axis=1)
  wrong = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))  # a NaN is not below
  if len(wrong):
    raise ValueError(f'{folder / FEATURES}: {len(wrong)} of {len(norms)} prototypes are no unit '
                     f'vectors (row {wrong[0]} has length {norms[wrong[0]]:.6g}): {REMEDY}')
  info = _load_archive(folder / INFO) if (folder / INFO).exists() else {}
  try:
    return Bank(features, labels.astype(np.int32), **info)
  except (ValueError, TypeError) as error:
    raise ValueError(f'{folder / INFO} belongs to another bank ({error}): {REMEDY}') from error


def save_part(bank, path):
  """Writes the prototypes of one image, perhaps none, as one file."""
  values = {field.name: getattr(bank, field.name) for field in dataclasses.fields(Bank)}
  with files.replacing(path) as file:
    np.savez(file, **values)


def load_part(path):
  """Reads what `save_part` has written; a damaged file is a ValueError."""
  return Bank(**_load_archive(path))


def _load(path):
  try:
    return np.load(path, allow_pickle=False)
  except (ValueError, EOFError) as error:
    raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error


def _load_archive(path):
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
      return dict(archive)
  except (ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error
