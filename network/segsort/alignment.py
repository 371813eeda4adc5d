"""Segments that keep contours: clusters split along the borders of an oversegmentation.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1, where contours refine the segments of
k-means; specs/segsort.md, section 8. The joining of small pieces is this project's own.
"""

import tensorflow as tf

from network.segsort.prototypes import l2_normalize
from network.segsort.shapes import dims

# Every round at least halves the small pieces that have a neighbour, and every step along pointers
# doubles its length: int32 numbers never need more of either.
_MOST_ROUNDS = 31


def smallest_piece(clusters, num_clusters, share):
  """How many pixels a piece must have, as a share of its image's mean cluster.

  Args:
    clusters: int32 [B, H, W] in [0, num_clusters), negative for pixels that do not count.
    num_clusters: int or scalar int32.
    share: float, 0 or more.

  Returns:
    int32 [B], ceil(share * counted pixels / clusters that have any).
  """
  clusters = tf.reshape(clusters, [tf.shape(clusters)[0], -1])
  batch = tf.shape(clusters)[0]
  keys = tf.where(clusters >= 0, clusters + num_clusters * tf.range(batch)[:, tf.newaxis], -1)
  counts = tf.math.unsorted_segment_sum(
      tf.ones_like(clusters), keys, batch * num_clusters)
  counts = tf.reshape(counts, [batch, num_clusters])
  pixels = tf.cast(tf.reduce_sum(counts, axis=1), tf.float32)
  filled = tf.reduce_sum(tf.cast(counts > 0, tf.float32), axis=1)
  return tf.cast(tf.math.ceil(share * tf.math.divide_no_nan(pixels, filled)), tf.int32)


def align_segments(embedding, clusters, regions, smallest):
  """Splits clusters along the borders of regions and joins the small pieces.

  A piece is what one cluster and one region have in common. In every round each piece of fewer than
  `smallest` pixels joins the most similar of its neighbours in its own region, and only where it
  has no neighbour there, of those in other regions; what joins becomes one piece, in the region of
  that which was joined. Rounds end when no small piece has a neighbour.

  Neighbours share a side of a pixel. Pieces are similar by the cosine of their prototypes; of
  equally similar ones the first in the order of clusters, then regions, is taken.

  Args:
    embedding: float [B, H, W, D] of unit length; computed in float32, without gradient.
    clusters: int32 [B, H, W], any ids of 0 or more; negative for pixels that do not count.
    regions: int32 [B, H, W], any ids of 0 or more; pixels with negative ones have no region
      and count as if they were one together.
    smallest: int32 [B], pixels.

  Returns:
    int32 [B, H, W], ids of the segments of each image, without gaps from 0; -1 for pixels that do
    not count. Where B, H and W are static so are all shapes, as jit_compile needs it; where they
    are not, memory is taken for the pieces and borders that there are.
  """
  embedding = tf.stop_gradient(tf.cast(embedding, tf.float32))
  clusters, regions = tf.convert_to_tensor(clusters), tf.maximum(regions, -1)
  batch, height, width, dim = dims(embedding)
  pixels = batch * height * width
  pieces, num_pieces = _piece_ids(clusters, regions)
  static = isinstance(pixels, int)
  # Also of nothing there is a place, that of the pixels that do not count.
  size = pixels if static else tf.maximum(num_pieces, 1)

  flat = tf.reshape(pieces, [-1])

  def of_pieces(values):
    """The value that all pixels of a piece have: int32 [B * H * W] -> [size]."""
    return tf.math.unsorted_segment_max(values, flat, size)

  images = tf.repeat(tf.range(batch), height * width)
  region_of = of_pieces(tf.reshape(regions, [-1]))
  image_of = tf.clip_by_value(of_pieces(images), 0, batch - 1)  # also where there is no piece
  limits = tf.gather(smallest, image_of)
  sums = tf.math.unsorted_segment_sum(tf.reshape(embedding, [-1, dim]), flat, size)
  counts = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, size)
  first, second = _borders(pieces, counts < limits, dense=static)
  roots, _, counts = _join(first, second, region_of, limits, sums, counts)

  # Pieces, and so what they have become, are in the order of the images.
  filled = tf.cast(counts > 0, tf.int32)
  per_image = tf.math.unsorted_segment_sum(filled, image_of, batch)
  before = tf.gather(tf.cumsum(per_image, exclusive=True), image_of)
  numbers = tf.gather(tf.cumsum(filled) - 1 - before, roots)
  return tf.where(pieces >= 0, tf.gather(numbers, tf.maximum(pieces, 0)), -1)


def _piece_ids(clusters, regions):
  """Pieces numbered by image, cluster and region: int32 [B, H, W], -1 for none; and how many.

  By sorting, so that memory goes with the pixels and not with clusters times regions.
  """
  batch, height, width = dims(clusters)
  # int64: images x clusters x regions may be more than an int32 holds.
  clusters = tf.cast(clusters, tf.int64)
  regions = tf.cast(regions + 1, tf.int64)
  images = tf.range(tf.cast(batch, tf.int64))[:, tf.newaxis, tf.newaxis]
  keys = (images * (tf.reduce_max(clusters) + 1) + clusters) * (tf.reduce_max(regions) + 1)
  keys = tf.reshape(tf.where(clusters >= 0, keys + regions, -1), [-1])
  order = tf.argsort(keys)
  keys = tf.gather(keys, order)
  new = (keys >= 0) & tf.concat([[True], keys[1:] != keys[:-1]], axis=0)
  ranks = tf.cumsum(tf.cast(new, tf.int32)) - 1  # the negative keys are sorted first and have -1
  ids = tf.scatter_nd(order[:, tf.newaxis], ranks, tf.shape(ranks))
  return tf.reshape(ids, [batch, height, width]), ranks[-1] + 1


def _borders(pieces, small, dense):
  """The pairs of pieces that meet at a side of a pixel and of which one is small.

  Args:
    pieces: int32 [B, H, W].
    small: bool [P].
    dense: whether other pairs stay in their places, as (0, 0), for the sake of static shapes.

  Returns:
    Two int32 [E] of pieces; a pair may come several times.
  """
  def pairs(before, after):
    return tf.reshape(before, [-1]), tf.reshape(after, [-1])

  across = pairs(pieces[:, :, :-1], pieces[:, :, 1:])
  down = pairs(pieces[:, :-1], pieces[:, 1:])
  first, second = (tf.concat(sides, axis=0) for sides in zip(across, down, strict=True))
  meet = (first != second) & (first >= 0) & (second >= 0)
  if dense:
    first, second = tf.where(meet, first, 0), tf.where(meet, second, 0)
    open_ = tf.gather(small, first) | tf.gather(small, second)
    return tf.where(open_, first, 0), tf.where(open_, second, 0)
  first, second = tf.boolean_mask(first, meet), tf.boolean_mask(second, meet)
  open_ = tf.gather(small, first) | tf.gather(small, second)
  return tf.boolean_mask(first, open_), tf.boolean_mask(second, open_)


def _join(first, second, regions, limits, sums, counts):
  """Joins small pieces to neighbours until none can; see `align_segments`.

  Args:
    first, second: int32 [E], the pieces on the two sides of each border.
    regions, limits: int32 [P], the region of each piece, and how many pixels it must have.
    sums: float32 [P, D], of the embeddings of its pixels.
    counts: int32 [P], its pixels; 0 for places without a piece.

  Returns:
    roots: int32 [P], the piece that each has become part of; itself where it has joined none.
    sums, counts: of what the pieces have become, 0 for those that have joined another.
  """
  (size,) = dims(counts)
  own = tf.range(size)

  def one_round(roots, sums, counts, _):
    goals = _goals(
        tf.gather(roots, first), tf.gather(roots, second), regions, counts < limits,
        l2_normalize(sums))
    joined = _ends(tf.where(goals < 0, own, goals))
    return (tf.gather(joined, roots), tf.math.unsorted_segment_sum(sums, joined, size),
            tf.math.unsorted_segment_sum(counts, joined, size), tf.reduce_any(goals >= 0))

  return tf.while_loop(
      lambda *values: values[-1], one_round, (own, sums, counts, tf.constant(True)),
      maximum_iterations=_MOST_ROUNDS)[:3]


def _goals(first, second, regions, small, prototypes):
  """The piece that each small piece joins: int32 [P], -1 for those that join none.

  Similarity, the preference for the own region and the order among equals are packed into one whole
  number, whose maximum over a piece's borders is exact in every order of computing it.
  """
  (size,) = dims(small)
  cosine = tf.reduce_sum(tf.gather(prototypes, first) * tf.gather(prototypes, second), axis=-1)
  # Bits of floats are in the order of the floats, those of negative ones in the opposite order.
  bits = tf.bitcast(tf.clip_by_value(cosine, -1.0, 1.0), tf.int32)
  rank = tf.where(bits < 0, -2 ** 31 - bits, bits) + 2 ** 30  # bits of +-1 are below 2^30
  within = tf.cast(tf.gather(regions, first) == tf.gather(regions, second), tf.int64)
  rank = tf.cast(rank, tf.int64) + within * 2 ** 31
  rank = tf.where(first == second, tf.constant(-1, tf.int64), rank)

  def keys(goal):
    return tf.where(rank < 0, rank, rank * 2 ** 31 + (2 ** 31 - 1 - tf.cast(goal, tf.int64)))

  source = tf.concat([first, second], axis=0)
  key = tf.concat([keys(second), keys(first)], axis=0)
  best = tf.math.unsorted_segment_max(key, source, size)
  goals = tf.cast(2 ** 31 - 1 - tf.bitwise.bitwise_and(
      best, tf.constant(2 ** 31 - 1, tf.int64)), tf.int32)
  return tf.where(small & (best >= 0), goals, -1)


def _ends(pointers):
  """Where chains of pointers end: int32 [P] -> int32 [P], itself for what points at itself.

  Two that point at each other become the lower one. There are no longer circles: along one no
  similarity could fall, so that all would be equal, and each would point at the lowest neighbour.
  """
  own = tf.range(*dims(pointers))
  mutual = tf.gather(pointers, pointers) == own
  pointers = tf.where(mutual, tf.minimum(own, pointers), pointers)

  def follow(pointers, _):
    further = tf.gather(pointers, pointers)
    return further, tf.reduce_any(further != pointers)

  return tf.while_loop(
      lambda _, changed: changed, follow, (pointers, tf.constant(True)),
      maximum_iterations=_MOST_ROUNDS)[0]
