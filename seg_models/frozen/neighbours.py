"""Which images of a data set look alike: neighbours by the mean of their features.

Source: specs/stego.md, section 3.3.
"""

import numpy as np

from network.segsort.retrieval import nearest_neighbours
from utils.cached_rows import cached_rows

COUNT = 30
_VERSION = 1
_QUERIES = 1024  # that are compared at a time


def unit_means(means):
  """Means float [N, C] at unit length, float32; a mean of zeros stays so."""
  means = np.asarray(means, np.float32)
  return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.float32(1e-12))


def neighbours_of(unit, first, last, count):
  """The `count` most similar other rows of some rows.

  Deviates from the original, which takes the row itself for the first one found and drops that,
  whichever it is: a copy of a row may come before it.

  Args:
    unit: float32 [N, C] of unit length.
    first, last: the range of rows that are asked about.
    count: below N.

  Returns:
    int32 [last - first, count], by descending cosine, never the row itself; of equally similar
    ones the lower comes first.
  """
  _, found = nearest_neighbours(unit[first:last], unit, count + 1)
  found = found.numpy()
  itself = found == np.arange(first, last)[:, None]
  # Behind enough copies of itself a row is not found at all: the last one is then left out.
  itself[~itself.any(1), -1] = True
  return found[~itself].reshape(-1, count)


def find_neighbours(store, cache_dir, count=COUNT):
  """The neighbours of every view of a `FeatureStore`, found once.

  Args:
    store: `FeatureStore`, N views.
    cache_dir: folder of what is kept.
    count: neighbours of each, or as many as there are.

  Returns:
    int32 [N, min(count, N - 1)], memory-mapped, by descending similarity, never the view itself;
    another crop of its image may be among them.

  Raises:
    ValueError: a single view has no neighbour.
  """
  count = min(count, len(store) - 1)
  if count < 1:
    raise ValueError('a single image has no neighbours: give more of them')
  manifest = {'kind': 'neighbours', 'version': _VERSION, 'count': count, 'features': store.manifest}

  def produce(first):
    unit = unit_means(store.means)
    for begin in range(first, len(unit), _QUERIES):
      yield {'neighbours': neighbours_of(unit, begin, min(begin + _QUERIES, len(unit)), count)}

  return cached_rows(cache_dir, manifest, len(store), produce, 'neighbours')['neighbours']
