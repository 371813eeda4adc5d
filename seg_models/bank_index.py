"""The index of a large bank: cells of prototypes, and how many of them a search goes through."""

import dataclasses
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from network.segsort.compression import decompress
from network.segsort.inverted_file import find_cells
from network.segsort.pseudo_classes import nearest_centres
from seg_models.bank import INDEX, find_bank
from utils import files

_SAMPLE = 100  # prototypes a cell that its centre is found by, as is usual
_QUERIES = 500  # that the recall is measured by
_ROWS = 8192  # of the bank that are compared together
_REMEDY = 'make the index anew: convert_bank.py --index'


@dataclasses.dataclass(frozen=True, eq=False)
class BankIndex:
  """Cells that a bank is sorted by.

  Attributes:
    centres: float32 [C, D], unit length.
    offsets: int32 [C + 1], cell c is rows offsets[c] to offsets[c + 1] of the bank; none is empty.
    probes: cells that are searched for each query.
    k: neighbours at most that `recall` holds for.
    recall: share of the k nearest prototypes of other images that were found, measured on
      prototypes of the bank.
  """

  centres: np.ndarray
  offsets: np.ndarray
  probes: int
  k: int
  recall: float

  def settings(self):
    """What results depend on beside the bank: dict of JSON values."""
    return {'cells': len(self.centres), 'probes': self.probes}


def make_index(bank, k, recall, cells=None, seed=0):
  """Groups a bank's prototypes into cells.

  Args:
    bank: `seg_models.bank.Bank`.
    k: neighbours that will be asked for.
    recall: share of them that is to be found, in (0, 1]; prototypes of the bank itself are the
      queries, with all that is of the same image, or is the query, left out.
    cells: their number; by default the square root of the bank's size.
    seed: of the centres and queries.

  Returns:
    `BankIndex`, and int64 [P], the order that the bank has to be brought to.

  Raises:
    ValueError: an argument is out of range.
  """
  count = len(bank)
  cells = round(count ** 0.5) if cells is None else cells
  if not 1 <= cells <= count:
    raise ValueError(f'--index_cells {cells}: choose from 1 to {count}, the prototypes of the bank')
  if not 1 <= k <= count:
    raise ValueError(f'--k_in_nearest_neighbors {k}: the bank has {count} prototypes')
  if not 0 < recall <= 1:
    raise ValueError(f'--index_recall {recall}: expected above 0, at most 1')
  rng = np.random.default_rng(seed)
  centres = find_cells(_sample(bank, rng, _SAMPLE * cells)[0], cells, rng)
  cell = np.concatenate([nearest_centres(rows, centres)[0] for rows in _decompressed(bank)])
  there, cell = np.unique(cell, return_inverse=True)
  centres, sizes = centres[there], np.bincount(cell)
  enough = np.searchsorted(np.cumsum(np.sort(sizes)), k) + 1  # any so many cells have k prototypes
  ranks = np.sort(_ranks(bank, cell, centres, k, rng))
  if len(ranks):
    enough = max(enough, ranks[int(np.ceil(recall * len(ranks))) - 1] + 1)
  index = BankIndex(
      centres, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32), int(enough), k,
      float(np.mean(ranks < enough)) if len(ranks) else 1.0)
  return index, np.argsort(cell, kind='stable')


def _ranks(bank, cell, centres, k, rng):
  """For neighbours of some prototypes, how many cells are nearer to these than the neighbour's.

  A search that goes through so many cells and one more finds the neighbour.
  """
  queries, places = _sample(bank, rng, _QUERIES)
  known = bank.image is not None and len(np.unique(bank.image[places])) > 1
  group = bank.image if known else np.arange(len(bank))
  similarity, index = tf.fill([len(places), k], -np.inf), tf.zeros([len(places), k], tf.int32)
  begin = 0
  for rows in _decompressed(bank):
    columns = np.arange(begin, begin + len(rows), dtype=np.int32)
    scores = tf.where(group[places][:, None] == group[columns], -np.inf,
                      tf.matmul(queries, rows, transpose_b=True))
    index = tf.concat([index, tf.broadcast_to(columns, scores.shape)], axis=1)
    similarity, best = tf.math.top_k(tf.concat([similarity, scores], axis=1), k)
    index = tf.gather(index, best, batch_dims=1)
    begin += len(rows)
  order = np.argsort(-tf.matmul(queries, centres, transpose_b=True).numpy(), axis=1, kind='stable')
  ranks = np.take_along_axis(np.argsort(order, axis=1), cell[index], axis=1)
  return ranks[np.isfinite(similarity)]


def _sample(bank, rng, count):
  """Some prototypes, float32, and their places; all, where there are no more."""
  places = np.sort(rng.choice(len(bank), min(count, len(bank)), replace=False))
  return decompress(bank.features[places]).numpy(), places


def _decompressed(bank):
  """Yields all features in pieces: float32 [n, D]."""
  for begin in range(0, len(bank), _ROWS):
    yield decompress(bank.features[begin:begin + _ROWS])


def save_index(index, folder, fingerprint):
  """Writes the index of the bank with this fingerprint into its folder."""
  with files.replacing(pathlib.Path(folder) / INDEX) as file:
    np.savez(file, bank=fingerprint, **dataclasses.asdict(index))


def load_index(folder, fingerprint, k):
  """Reads the index of a bank.

  Args:
    folder: see `seg_models.bank.load_bank`.
    fingerprint: of the bank that was read.
    k: neighbours that will be asked for.

  Returns:
    `BankIndex`.

  Raises:
    FileNotFoundError: the bank has no index.
    ValueError: the index is damaged, of another bank, or was made for fewer neighbours.
  """
  path = find_bank(folder) / INDEX
  if not path.exists():
    raise FileNotFoundError(f'{path} is missing, which --search ivf needs: make a bank with an '
                            'index from this one, convert_bank.py --index, or take --search exact')
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
      values = dict(archive)
      owner = str(values.pop('bank'))
      index = BankIndex(**{name: values[name][()] for name in values})
  except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is damaged ({error}): {_REMEDY}') from error
  if owner != fingerprint:
    raise ValueError(f'{path} is of another bank than the one beside it: {_REMEDY}')
  if k > index.k:
    raise ValueError(f'--k_in_nearest_neighbors {k}: {path} was made for {index.k} neighbours at '
                     f'most: {_REMEDY} --k_in_nearest_neighbors {k}, or take --search exact')
  return dataclasses.replace(index, probes=int(index.probes), k=int(index.k),
                             recall=float(index.recall))
