"""Exact k-nearest-neighbour search in a bank of prototypes, and votes of the neighbours.

Source: SegSort (Hwang et al., ICCV 2019), section 3.3; specs/segsort.md, section 2.
"""

import tensorflow as tf

# A product with very few columns runs through another kernel, whose rounding differs.
_SMALLEST_CHUNK = 16
# Prototypes whose greatest similarity is looked at before their own ones.
_BLOCK = 128


def nearest_neighbours(queries, bank, k, chunk_size=32768):
  """The k prototypes of a bank with the greatest cosine to each query, exactly.

  The bank is gone through in chunks of one common size, so that beside the bank itself only
  Q * (k + chunk_size) similarities are held, and equal prototypes have equal similarities wherever
  in the bank they are.

  Args:
    queries: float [Q, D] of unit length.
    bank: float [P, D] of unit length, P static.
    k: int in [1, P].
    chunk_size: prototypes that are compared at a time; changes nothing but memory and time.

  Returns:
    similarity: float32 [Q, k] in [-1, 1], descending.
    index: int32 [Q, k], places in the bank; of equal similarities the lower place comes first.

  Raises:
    ValueError: k is below 1 or larger than the bank.
  """
  queries = tf.cast(queries, tf.float32)
  bank = tf.cast(bank, tf.float32)
  size = bank.shape[0]
  if not 1 <= k <= size:
    raise ValueError(f'k is {k}, but the bank has {size} prototypes: choose k from 1 to {size}')
  chunk = min(max(chunk_size, _SMALLEST_CHUNK), size)
  columns = tf.range(chunk)

  def search(begin, similarity, index):
    # The last chunk overlaps the one before; what was seen there is masked.
    start = tf.minimum(begin, size - chunk)
    members = tf.slice(bank, [start, 0], [chunk, -1])
    scores = tf.matmul(queries, members, transpose_b=True)
    scores = tf.cond(
        start < begin, lambda: tf.where(start + columns < begin, -float('inf'), scores),
        lambda: scores)
    best, places = _top_k(scores, min(k, chunk))
    # Of equal values top_k takes the first, and those found before have the lower places.
    similarity, chosen = tf.math.top_k(tf.concat([similarity, best], axis=1), k)
    index = tf.gather(tf.concat([index, start + places], axis=1), chosen, batch_dims=1)
    return begin + chunk, similarity, index

  number = tf.shape(queries)[0]
  found = [tf.constant(0), tf.fill([number, k], -float('inf')), tf.zeros([number, k], tf.int32)]
  shapes = [tf.TensorShape([])] + [tf.TensorShape([None, k])] * 2
  return tuple(tf.while_loop(lambda begin, *_: begin < size, search, found, shapes)[1:])


def _top_k(scores, k):
  """`tf.math.top_k`, faster for many scores: values and indices of the k greatest of each row.

  The k greatest are in the k blocks with the greatest maxima: each of these, if there are k before
  a block, holds a score that is before all of the block's.
  """
  width = scores.shape[1]
  if width < 4 * k * _BLOCK:
    return tf.math.top_k(scores, k)
  blocks = -(-width // _BLOCK)
  scores = tf.pad(scores, [[0, 0], [0, blocks * _BLOCK - width]], constant_values=-float('inf'))
  scores = tf.reshape(scores, [-1, blocks, _BLOCK])
  # In the order of their places, so that of equal scores the lower place comes first again.
  chosen = tf.sort(tf.math.top_k(tf.reduce_max(scores, axis=2), k).indices, axis=1)
  members = tf.reshape(tf.gather(scores, chosen, batch_dims=1), [-1, k * _BLOCK])
  values, places = tf.math.top_k(members, k)
  return values, (
      tf.gather(chosen, places // _BLOCK, batch_dims=1) * _BLOCK + places % _BLOCK)


def vote_counts(labels, num_classes, similarity=None, concentration=10.0):
  """Votes of the neighbours for each class.

  Args:
    labels: int32 [Q, k] in [0, num_classes).
    num_classes: C.
    similarity: float [Q, k]; when given, a neighbour's vote weighs exp(concentration *
      (similarity - 1)), its von Mises-Fisher likelihood; otherwise each vote weighs 1.
    concentration: kappa of these weights.

  Returns:
    float32 [Q, C].
  """
  weights = tf.ones_like(labels, tf.float32)
  if similarity is not None:
    weights = tf.exp(concentration * (tf.cast(similarity, tf.float32) - 1.0))
  votes = tf.one_hot(labels, num_classes)
  return tf.linalg.matvec(votes, weights, transpose_a=True)


def vote(labels, similarity, num_classes, mode='count', concentration=10.0):
  """The class that the neighbours of each query elect.

  Args:
    labels: int32 [Q, k] in [0, num_classes), neighbours by descending similarity.
    similarity: float [Q, k].
    num_classes: C.
    mode: 'count': the most frequent class, the smallest id of equally frequent ones, as in the
      original. 'nearest': of equally frequent classes the one with the nearest neighbour.
      'similarity': votes are weighted, see `vote_counts`.
    concentration: kappa of the weights of 'similarity'.

  Returns:
    int32 [Q].

  Raises:
    ValueError: `mode` is none of the three.
  """
  if mode not in ('count', 'nearest', 'similarity'):
    raise ValueError(f"mode is {mode!r}; it must be 'count', 'nearest' or 'similarity'")
  counts = vote_counts(
      labels, num_classes, similarity if mode == 'similarity' else None, concentration)
  if mode == 'nearest':
    winner = tf.equal(counts, tf.reduce_max(counts, axis=1, keepdims=True))
    first = tf.argmax(tf.cast(tf.gather(winner, labels, batch_dims=1), tf.int32), axis=1)
    return tf.gather(labels, first, batch_dims=1)
  return tf.argmax(counts, axis=1, output_type=tf.int32)
