"""Search in a part of the bank: prototypes in cells around centres, of which the nearest are gone
through.

Source: Sivic and Zisserman, ICCV 2003, as Jegou et al., PAMI 2011, section IV, have it for
neighbours; by the cosine.
"""

import numpy as np
import tensorflow as tf

from network.segsort.compression import decompress
from network.segsort.prototypes import segment_prototypes
from network.segsort.pseudo_classes import nearest_centres

_ITERATIONS = 10  # of k-means; more hardly change the recall
_AT_ONCE = 4  # cells that may be in memory together


def find_cells(sample, count, rng):
  """Centres of cells by spherical k-means.

  Args:
    sample: float32 [N, D] of unit length.
    count: cells, at most N.
    rng: `numpy.random.Generator`.

  Returns:
    float32 [count, D] of unit length.
  """
  centres = sample[rng.choice(len(sample), count, replace=False)]
  for _ in range(_ITERATIONS):
    labels, _ = nearest_centres(sample, centres)
    means, sizes = segment_prototypes(sample, labels, count)
    centres = np.where(sizes[:, None] > 0, means, centres)
  return centres


def search_cells(queries, bank, centres, offsets, k, probes):
  """The k nearest to each query of the prototypes in the cells with the nearest centres.

  With as many probes as cells this is `network.segsort.retrieval.nearest_neighbours`. Each cell is
  compared once with all queries that ask for it; beside the bank, memory is held for a few cells at
  a time and for Q * probes * k similarities.

  Args:
    queries: float [Q, D] of unit length, at least one.
    bank: [P, D], cell after cell; float32 of unit length, or compressed.
    centres: float32 [C, D] of unit length.
    offsets: int32 [C + 1], cell c is rows offsets[c] to offsets[c + 1] of the bank.
    k: int in [1, P].
    probes: cells a query, static, in [1, C]; any so many cells together have to have k prototypes.

  Returns:
    similarity: float32 [Q, k] in [-1, 1], descending.
    index: int32 [Q, k], places in the bank; of equal similarities the lower place comes first.
  """
  queries = tf.cast(queries, tf.float32)
  bank, offsets = tf.convert_to_tensor(bank), tf.convert_to_tensor(offsets)
  # Cells in ascending order: of equal candidates the first one is taken, the lower place.
  nearest = tf.math.top_k(tf.matmul(queries, centres, transpose_b=True), probes, sorted=False)[1]
  asked = tf.reshape(tf.sort(nearest, axis=1), [-1])
  order = tf.argsort(asked, stable=True)
  who = order // probes
  number = tf.math.bincount(asked, minlength=centres.shape[0])
  cells = tf.cast(tf.where(number > 0)[:, 0], tf.int32)
  number = tf.gather(number, cells)
  ends = tf.cumsum(number)

  def search(place, similarity, index):
    begin = offsets[cells[place]]
    size = offsets[cells[place] + 1] - begin
    members = decompress(tf.slice(bank, [begin, 0], [size, -1]))
    rows = tf.gather(queries, who[ends[place] - number[place]:ends[place]])
    scores = tf.matmul(rows, members, transpose_b=True)
    missing = [[0, 0], [0, tf.maximum(k - size, 0)]]
    scores, best = tf.math.top_k(tf.pad(scores, missing, constant_values=-float('inf')), k)
    return place + 1, similarity.write(place, scores), index.write(place, begin + best)

  total = tf.size(cells)
  found = [tf.TensorArray(dtype, total, infer_shape=False, element_shape=[None, k])
           for dtype in (tf.float32, tf.int32)]
  _, *found = tf.while_loop(
      lambda place, *_: place < total, search, [tf.constant(0), *found],
      parallel_iterations=_AT_ONCE)
  back = tf.math.invert_permutation(order)
  similarity, index = (
      tf.reshape(tf.gather(values.concat(), back), [-1, probes * k]) for values in found)
  similarity, best = tf.math.top_k(similarity, k)
  return similarity, tf.gather(index, best, batch_dims=1)
