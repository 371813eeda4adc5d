"""What fewer bits and an index make of a bank: neighbours lost, time, and memory."""

import concurrent.futures
import dataclasses
import multiprocessing
import pathlib
import statistics
import time

import numpy as np
import tensorflow as tf

from network.segsort.compression import STORAGES, decompress
from network.segsort.inverted_file import search_cells
from network.segsort.retrieval import nearest_neighbours, vote
from seg_models import bank as banks
from seg_models.bank_index import load_index, make_index, save_index
from utils.benchmarking import peak_memory

_AT_ONCE = 400  # queries that are searched together where no number is asked for


@dataclasses.dataclass(frozen=True)
class Variant:
  """One form of a bank on disk.

  Attributes:
    name: such as 'int8 ivf'.
    folder: of its files.
    order: int [P], the place in the original bank of each of its prototypes; None for the same.
    making: text, how it was made.
  """
  name: str
  folder: str
  order: np.ndarray | None = None
  making: str = ''


def enlarge(bank, size, noise, folder, seed=0):
  """Writes a bank of copies, each moved by Gaussian noise, as often as the size asks for.

  Args:
    bank: `Bank`.
    size: prototypes of the new bank.
    noise: length of the noise, which a prototype of length 1 is moved by, on average.
    folder: of the new bank, which knows features, labels and images only.
    seed: of the noise.
  """
  rng = np.random.default_rng(seed)
  places = np.arange(size) % len(bank)

  def blocks():
    for rows in np.array_split(places, -(-size // 65536)):
      step = rng.standard_normal([len(rows), bank.dim], np.float32) * (noise / bank.dim ** 0.5)
      moved = decompress(bank.features[rows]).numpy() + step
      yield moved / np.linalg.norm(moved, axis=1, keepdims=True)

  info = {} if bank.image is None else {'images': bank.images, 'image': bank.image[places]}
  banks.write_bank(folder, (size, bank.dim), 'float32', blocks(), bank.labels[places], info)


def write_variants(bank, folder, k, recall):
  """Writes a bank in every storage, and those of float32 and int8 with an index too.

  Args:
    bank: `Bank`, float32.
    folder: where to; each variant gets a folder in it.
    k, recall: see `seg_models.bank_index.make_index`.

  Yields:
    `Variant`, the first of which is the bank as it is.
  """
  folder = pathlib.Path(folder)
  for storage in STORAGES:
    banks.save_bank(bank, folder / storage, storage)
    yield Variant(storage, str(folder / storage))
  start = time.perf_counter()
  index, order = make_index(bank, k, recall)
  seconds = time.perf_counter() - start
  making = (f'{len(index.centres)} cells, {index.probes} of them a query, made in {seconds:.0f} s; '
            f'recall {index.recall:.4f} of prototypes of the bank')
  for storage in ('float32', 'int8'):
    path = folder / f'{storage}_ivf'
    banks.write_bank(path, bank.features.shape, storage, bank.blocks(storage, order),
                     bank.labels[order], {})
    save_index(index, path, banks.load_bank(path).fingerprint())
    yield Variant(f'{storage} ivf', str(path), order, making)


def search_bank(folder, queries, k, numbers, repeats):
  """Opens a bank and searches it; to be called in a process of its own, for the memory.

  Args:
    folder: of the bank; its index is made use of where there is one.
    queries: float32 [Q, D], unit length.
    k: neighbours.
    numbers: of queries at once, that are timed.
    repeats: searches of each number, the median of whose times is taken.

  Returns:
    Dict: `seconds` and `cpu_seconds`, those of all cores together, for each of `numbers`;
    `peak_mb` (MB are 2^20 bytes), by which opening the bank and these searches enlarged the process
    at most, pages of the mapped file counted; `bank_mb`, the size of the features; `index` int32
    [Q, k], places in this bank; `labels` int32 [Q], by vote.
  """
  # What TensorFlow takes at its first search of all is not counted.
  tf.function(lambda rows: nearest_neighbours(rows, tf.eye(rows.shape[1]), 1))(queries[:1])
  bank = search = None
  times = []

  def work():
    nonlocal bank, search
    bank = banks.load_bank(folder)
    search = _searcher(folder, bank, k)
    for number in numbers:
      rows = tf.constant(queries[:number])
      search(rows)
      measured = zip(*(_time(search, rows) for _ in range(repeats)), strict=True)
      times.append([statistics.median(values) for values in measured])

  peak = peak_memory(work)
  found = [search(tf.constant(queries[begin:begin + _AT_ONCE]))
           for begin in range(0, len(queries), _AT_ONCE)]
  similarity, places = (np.concatenate(values) for values in zip(*found, strict=True))
  labels = vote(bank.labels[places], similarity, int(bank.labels.max()) + 1).numpy()
  seconds, cpu_seconds = zip(*times, strict=True)
  return {'seconds': seconds, 'cpu_seconds': cpu_seconds, 'peak_mb': peak,
          'bank_mb': bank.features.nbytes / 2**20, 'index': places, 'labels': labels}


def _searcher(folder, bank, k):
  """The search in a bank as inference does it: queries -> similarity, places."""
  features = tf.raw_ops.Identity(input=bank.features)
  signature = [tf.TensorSpec([None, bank.dim])]
  if not (banks.find_bank(folder) / banks.INDEX).exists():
    return tf.function(lambda rows: nearest_neighbours(rows, features, k), signature)
  index = load_index(folder, bank.fingerprint(), k)
  return tf.function(lambda rows: search_cells(
      rows, features, index.centres, index.offsets, k, index.probes), signature)


def _time(search, rows):
  clocks = time.perf_counter, time.process_time
  start = [clock() for clock in clocks]
  search(rows)[0].numpy()
  return [clock() - begun for clock, begun in zip(clocks, start, strict=True)]


def compare(variants, queries, truth, k, numbers, repeats=5):
  """Searches in each variant and holds it against the first one.

  Args:
    variants: iterable of `Variant`.
    queries: float32 [Q, D], unit length; the first ones are timed.
    truth: int [Q], their true classes.
    k, numbers, repeats: see `search_bank`.

  Yields:
    For each a dict of JSON values: `name`, `bank_mb`, `peak_mb`, `seconds` and `cpu_seconds`
    (number of queries -> seconds), `recall`, the share of the first variant's neighbours that it
    finds, `agreement`, the share of queries that are voted the same class as by the first,
    `accuracy`, the share that are voted their true class, and `making`.
  """
  reference = None
  for variant in variants:
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context('spawn')) as process:
      found = process.submit(
          search_bank, variant.folder, queries, k, numbers, repeats).result()
    index = found['index'] if variant.order is None else variant.order[found['index']]
    if reference is None:
      reference = index, found['labels']
    hits = [len(np.intersect1d(*rows)) for rows in zip(index, reference[0], strict=True)]
    yield {
        'name': variant.name, 'bank_mb': found['bank_mb'], 'peak_mb': found['peak_mb'],
        **{name: dict(zip(map(str, numbers), found[name], strict=True))
           for name in ('seconds', 'cpu_seconds')},
        'recall': float(np.mean(hits) / k),
        'agreement': float(np.mean(found['labels'] == reference[1])),
        'accuracy': float(np.mean(found['labels'] == truth)), 'making': variant.making}
