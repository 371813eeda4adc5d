"""Pseudo-classes of a data set: found among its segments, and kept in a file."""

import dataclasses
import hashlib
import pathlib
import zipfile

import numpy as np
import tqdm

from network.segsort.pseudo_classes import cluster_prototypes
from seg_models.datasets import Dataset
from utils import colors, files

FILE = 'clusters.npz'
MOST = (1 << 16) - 1  # a gray picture has 16 bits
WEIGHTS = ('pixels', 'segments')


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoClasses:
  """The centres of K groups of segments, and what is known of these.

  Attributes:
    centres: float32 [K, D] of unit length.
    segments: int64 [K], how many segments the groups had where they were found.
    pixels: int64 [K], likewise.
    objective: float, the weighted mean cosine of these segments and their centres.
    network: the `utils.resuming.fingerprint` of the checkpoint that the embeddings are of.
    inputs: 16 hex digits that change with all that the centres were computed from.
  """
  centres: np.ndarray
  segments: np.ndarray
  pixels: np.ndarray
  objective: float
  network: str
  inputs: str

  def __len__(self):
    return len(self.centres)

  @property
  def dim(self):
    return self.centres.shape[1]

  def fingerprint(self):
    """16 hex digits that change with the centres."""
    return _digest(self.centres)


def pseudo_dataset(count):
  """A `Dataset` of `count` pseudo-classes, in VOC's colours from the second on: none is black."""
  return Dataset('pseudo-classes', tuple(f'group {index}' for index in range(count)),
                 colors.voc_palette(count + 1)[1:])


def find_pseudo_classes(bank, count, network, path, *, weights='pixels', restarts=10, seed=0):
  """Groups the segments of a bank, and keeps the groups in a file.

  Args:
    bank: `Bank` with `pixels`.
    count: number of groups.
    network: fingerprint of the checkpoint.
    path: the file; where the same groups are in it already, nothing is computed.
    weights: one of `WEIGHTS`, what counts equally.
    restarts: attempts, of which the best is taken.
    seed: non-negative int.

  Returns:
    `PseudoClasses`.

  Raises:
    ValueError: there are fewer segments, or fewer different ones, than groups.
  """
  if count > len(bank):
    raise ValueError(f'--cluster_classes {count}: the images have {len(bank)} segments in all; '
                     'choose at most as many')
  inputs = _digest(bank.features, bank.pixels, np.array([count, restarts, seed]), np.array(weights))
  path = pathlib.Path(path)
  if path.exists():
    known = load_pseudo_classes(path)
    if (known.inputs, known.network) == (inputs, network):
      return known
  attempts = tqdm.tqdm([[seed, attempt] for attempt in range(restarts)], desc='k-means')
  try:
    found = cluster_prototypes(
        bank.features, count, attempts, bank.pixels if weights == 'pixels' else None)
  except ValueError as error:
    raise ValueError(f'--cluster_classes {count}: {error}') from error
  classes = PseudoClasses(
      found.centres, np.bincount(found.labels, minlength=count),
      np.bincount(found.labels, bank.pixels, count).astype(np.int64), found.objective, network,
      inputs)
  save_pseudo_classes(classes, path)
  return classes


def save_pseudo_classes(classes, path):
  """Writes the file that `load_pseudo_classes` reads."""
  with files.replacing(path) as file:
    np.savez(file, **dataclasses.asdict(classes))


def load_pseudo_classes(path):
  """Reads what `save_pseudo_classes` has written.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is damaged or another file.
  """
  remedy = f'it is to be the {FILE} that inference_segsort.py --cluster_classes has written'
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as stored:
      values = dict(stored)
    scalars = {name: values[name].item() for name in ('objective', 'network', 'inputs')}
    classes = PseudoClasses(**{**values, **scalars})
  except FileNotFoundError:
    raise FileNotFoundError(f'{path} does not exist: {remedy}') from None
  except (ValueError, KeyError, TypeError, AttributeError, EOFError,
          zipfile.BadZipFile) as error:
    raise ValueError(f'{path} cannot be read ({error}): {remedy}') from error
  if classes.centres.ndim != 2 or not 1 <= len(classes) <= MOST:
    raise ValueError(f'{path} has centres of shape {classes.centres.shape}: {remedy}')
  return classes


def _digest(*arrays):
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()[:16]
