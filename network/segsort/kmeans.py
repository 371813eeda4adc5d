"""Two ways to do spherical k-means, with the same result.

`dense_kmeans` goes through a batch at once, with static shapes. `chunked_kmeans` goes through an
image of any size in chunks of one size, each by one small compiled program: a chunk's cosines stay
in the processor's cache, and what its pixels change of the clusters' sums is added up while it is
there. It leaves out pixels that cannot change: for unit vectors the cosine orders clusters as the
distance does, and distances obey the triangle inequality. So a pixel keeps its cluster while its
lead, by how much the second nearest was farther, is more than what its own and any other cluster
have moved since.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1; specs/segsort.md, section 2. The bound is
that of Hamerly, "Making k-means even faster" (SDM 2010).
"""

import os

import tensorflow as tf

from network.segsort.prototypes import l2_normalize

# Pixels that are compared together.
CHUNK = 8192
# Chunks at a time, which wait for each other where they are more than the processors.
_AT_ONCE = max(os.cpu_count() or 1, 2)
# Distances of unit vectors, at most 2, that rounding may make equal: they come from cosines.
_UNCERTAIN = 1e-3
_FAR = 4.0  # farther than any unit vector
NOWHERE = -2.0  # lower than every cosine
# So many clusters at most are compared without a loop: XLA makes one pass of it.
_UNROLLED = 64
# Where the number of clusters differs from image to image it is rounded up to a multiple of this,
# so that few programs serve all images.
_CLUSTERS_STEP = 32


def dense_kmeans(features, labels, num_clusters, iterations, valid):
  """Spherical k-means of a batch; see `network.segsort.clustering.spherical_kmeans`.

  Args:
    features: float32 [B, N, F] of unit length.
    labels: int32 [B, N].
    num_clusters: int, or scalar int32 outside of XLA.
    iterations: int.
    valid: bool [B, N].

  Returns:
    int32 [B, N], -1 where not valid.
  """
  batch, dim = tf.shape(features)[0], tf.shape(features)[2]
  flat_features = tf.reshape(features, [-1, dim])
  offsets = num_clusters * tf.range(batch)[:, tf.newaxis]

  def directions(labels):
    ids = tf.where(labels >= 0, labels + offsets, -1)
    sums = tf.math.unsorted_segment_sum(
        flat_features, tf.reshape(ids, [-1]), batch * num_clusters)
    return tf.reshape(l2_normalize(sums), [batch, num_clusters, dim])

  def step(iteration, labels, _):
    centres = directions(labels)
    empty = tf.reduce_all(tf.equal(centres, 0.0), axis=-1, keepdims=True)
    cosines = tf.where(empty, NOWHERE, tf.matmul(centres, features, transpose_b=True))
    nearest = tf.ensure_shape(tf.where(valid, first_greatest(cosines, 1), -1), labels.shape)
    return iteration + 1, nearest, tf.reduce_any(nearest != labels)

  labels = tf.where(valid & (labels >= 0) & (labels < num_clusters), labels, -1)
  return tf.while_loop(
      lambda iteration, _, changed: (iteration < iterations) & changed,
      step, [tf.constant(0), labels, tf.constant(True)])[1]


def chunked_kmeans(features, labels, num_clusters, iterations, valid):
  """Spherical k-means of one image; see `network.segsort.clustering.spherical_kmeans`.

  Args:
    features: float32 [N, F] of unit length.
    labels: int32 [N].
    num_clusters: int or scalar int32.
    iterations: int.
    valid: bool [N].

  Returns:
    labels: int32 [N], -1 where not valid.
    done: int32 scalar, the iterations that were done until nothing changed.
    compared: int64 scalar, the pixels that were compared with the clusters in all of them.
  """
  size = tf.shape(labels)[0]
  known = (labels >= 0) & (labels < num_clusters)
  if not isinstance(num_clusters, int):
    num_clusters = -(-num_clusters // _CLUSTERS_STEP) * _CLUSTERS_STEP
  # Until the end, pixels that count and have no cluster yet are of the one after the last.
  labels = tf.where(valid, tf.where(known, labels, num_clusters), -1)
  features, labels = _at_least_one_chunk(features, labels)
  nothing = tf.zeros([num_clusters, tf.shape(features)[1]])

  def step(iteration, compared, labels, lead, before, sums, _):
    # What is left of a sum that all pixels have left is a rounding error, not a direction.
    counts = tf.math.bincount(labels + 1, minlength=num_clusters + 2, maxlength=num_clusters + 2)
    centres = tf.where(counts[1:-1, tf.newaxis] > 0, l2_normalize(sums), 0.0)
    exist = tf.reduce_any(centres != 0.0, axis=1)
    moved = tf.where(exist, tf.norm(centres - before, axis=1), 0.0)
    # A pixel whose cluster has lost its direction must find another one.
    lost = tf.where(exist, moved, _FAR) + _most_of_others(moved)
    lead -= tf.gather(tf.pad(lost, [[0, 1]]), tf.maximum(labels, 0))
    places = tf.cast(tf.where((labels >= 0) & (lead <= _UNCERTAIN))[:, 0], tf.int32)

    def compare(old, places=None):
      return _over_chunks(
          lambda *chunk: _reassign(*chunk, centres, exist), features, old, nothing, places)

    def compare_some():
      *found, change = compare(tf.gather(labels, places), places)
      return *(tf.tensor_scatter_nd_update(values, places[:, tf.newaxis], new)
               for values, new in zip((labels, lead), found, strict=True)), change

    # Few pixels are picked out; many are not worth it.
    new, lead, change = tf.cond(
        2 * tf.size(places) > tf.size(labels), lambda: compare(labels), compare_some)
    centres, sums = (tf.ensure_shape(values, nothing.shape) for values in (centres, sums + change))
    return (iteration + 1, compared + tf.size(places, tf.int64), new, lead, centres, sums,
            tf.reduce_any(new != labels))

  *_, sums = _over_chunks(lambda *chunk: _sum(*chunk, nothing), features, labels, nothing)
  done, compared, labels, *_ = tf.while_loop(
      lambda iteration, *state: (iteration < iterations) & state[-1], step,
      [tf.constant(0), tf.constant(0, tf.int64), labels, tf.zeros_like(features[:, 0]), nothing,
       sums, tf.constant(True)],
      [*(tf.TensorShape(shape) for shape in ([], [], [None], [None])), nothing.shape,
       nothing.shape, tf.TensorShape([])])
  labels = labels[:size]
  return tf.where(labels < num_clusters, labels, -1), done, compared


def _most_of_others(values):
  """The greatest value of all others: float32 [K] -> [K], 0 where there is no other."""
  most = tf.math.top_k(tf.pad(values, [[0, 1]]), 2).values
  first = tf.range(tf.size(values)) == tf.argmax(values, output_type=tf.int32)
  return tf.where(first, most[1], most[0])


def segment_sums(features, labels, num_clusters):
  """Sums of the features of each label's pixels, without gradient, for images of any size.

  Args:
    features: float32 [N, F].
    labels: int32 [N]; pixels with others than [0, num_clusters) do not count.
    num_clusters: int or scalar int32.

  Returns:
    float32 [num_clusters, F].
  """
  features, labels = _at_least_one_chunk(features, labels)
  steps = -(-num_clusters // _CLUSTERS_STEP)
  nothing = tf.zeros([steps * _CLUSTERS_STEP, tf.shape(features)[1]])
  return _over_chunks(
      lambda *chunk: _sum(*chunk, nothing), features, labels, nothing)[-1][:num_clusters]


def _at_least_one_chunk(features, labels):
  """The same of `CHUNK` pixels or more, of which the last may be nobody's."""
  fill = [[0, CHUNK - tf.size(labels)]]
  return tf.cond(
      tf.size(labels) < CHUNK,
      lambda: (tf.pad(features, [*fill, [0, 0]]), tf.pad(labels, fill, constant_values=-1)),
      lambda: (features, labels))  # tf.pad would copy all of them


def _over_chunks(function, features, values, nothing, places=None):
  """Calls a function for `CHUNK` pixels at a time, with one size for all chunks.

  Args:
    function: (features [CHUNK, F], values [CHUNK], bool [CHUNK] which pixels count) -> labels int32
      [CHUNK], float32 [CHUNK], and float32 [K, F], a sum over the pixels that count.
    features: float32 [N, F], N at least CHUNK.
    values: [n], of the pixels at the places.
    nothing: zeros [K, F].
    places: int32 [n], or None for all pixels.

  Returns:
    What the function does, for all of the n pixels.
  """
  size = tf.size(values)
  count = -(-size // CHUNK)
  if places is not None:
    fill = [[0, count * CHUNK - size]]
    places, values = tf.pad(places, fill), tf.pad(values, fill)

  def step(index, *results):
    begin, counts = index * CHUNK, tf.range(CHUNK) < size - index * CHUNK
    if places is None:
      # The last chunk begins early, within the one before.
      begin = tf.minimum(begin, size - CHUNK)
      counts = begin + tf.range(CHUNK) >= index * CHUNK
      rows = tf.ensure_shape(features[begin:begin + CHUNK], [CHUNK, *features.shape[1:]])
    else:
      rows = tf.gather(features, tf.ensure_shape(places[begin:begin + CHUNK], [CHUNK]))
    *found, more = function(
        rows, tf.ensure_shape(values[begin:begin + CHUNK], [CHUNK]), counts)
    more = tf.ensure_shape(more, nothing.shape)  # XLA's functions forget it
    return (index + 1, *(array.write(index, new) for array, new in zip(
        results[:-1], found, strict=True)), results[-1] + more)

  # Chunks may run side by side; sums are added in their order.
  _, *arrays, total = tf.while_loop(
      lambda index, *_: index < count, step,
      [tf.constant(0), *(tf.TensorArray(dtype, count, element_shape=[CHUNK])
                         for dtype in (tf.int32, tf.float32)), nothing],
      parallel_iterations=_AT_ONCE)

  def joined(chunks):
    if places is not None:
      return tf.reshape(chunks, [-1])[:size]
    return tf.concat([tf.reshape(chunks[:-1], [-1]), chunks[-1, count * CHUNK - size:]], axis=0)

  return *(joined(array.stack()) for array in arrays), total


def _better(cluster, cosine, first, second, nearest):
  """The two greatest cosines of all clusters up to this one, and the first with the greatest."""
  return (tf.maximum(first, cosine), tf.maximum(second, tf.minimum(first, cosine)),
          tf.where(cosine > first, cluster, nearest))


def _best_two(cosines):
  """The greatest and the second greatest cosine to any cluster, and the first nearest cluster.

  Cluster by cluster, what is done for all pixels is done in one pass, by few instructions each.

  Args:
    cosines: float32 [K, ...], none below `NOWHERE`.

  Returns:
    float32, float32 and int32 tensors [...].
  """
  none = tf.fill(tf.shape(cosines[0]), NOWHERE)
  best = none, none, tf.zeros_like(none, tf.int32)
  if not _few(cosines.shape[0]):
    return tf.while_loop(
        lambda cluster, *_: cluster < tf.shape(cosines)[0],
        lambda cluster, *best: (cluster + 1, *_better(cluster, cosines[cluster], *best)),
        [0, *best])[1:]
  for cluster, cosine in enumerate(tf.unstack(cosines)):
    best = _better(cluster, cosine, *best)
  return best


def first_greatest(values, axis):
  """The first place with the greatest value, as tf.argmax has it, but for few places in one pass.

  Args:
    values: float32 of any shape, without NaN.
    axis: int.

  Returns:
    int32, the axis left out.
  """
  if not _few(values.shape[axis]):
    return tf.argmax(values, axis=axis, output_type=tf.int32)
  greatest, *others = tf.unstack(values, axis=axis)
  found = tf.zeros_like(greatest, tf.int32)
  for place, those in enumerate(others, 1):
    found = tf.where(those > greatest, place, found)
    greatest = tf.maximum(greatest, those)
  return found


def _few(count):
  return count is not None and count <= _UNROLLED


def _compare(features, centres, exist):
  """The nearest of the centres that exist, and by how much the second nearest is farther."""
  cosines = tf.where(
      exist[:, tf.newaxis], tf.matmul(centres, features, transpose_b=True), NOWHERE)
  first, second, nearest = _best_two(cosines)
  near, far = (tf.sqrt(tf.maximum(2.0 - 2.0 * cosine, 0.0)) for cosine in (first, second))
  return nearest, far - near


@tf.function(jit_compile=True, autograph=False)
def _reassign(features, labels, counts, centres, exist):
  """`_compare`, with label -1 for pixels that had it, and the change of the labels' sums."""
  nearest, lead = _compare(features, centres, exist)
  nearest = tf.where(labels >= 0, nearest, -1)
  changed = counts & (nearest != labels)
  # Rows without a label are passed over, which most are.
  joined, left = (tf.math.unsorted_segment_sum(
      features, tf.where(changed, ids, -1), tf.size(exist)) for ids in (nearest, labels))
  return nearest, lead, joined - left


@tf.function(jit_compile=True, autograph=False)
def _sum(features, labels, counts, like):
  """The sums of the features of each label's pixels, of the shape of `like`."""
  return labels, tf.zeros_like(labels, tf.float32), tf.math.unsorted_segment_sum(
      features, tf.where(counts, labels, -1), tf.shape(like)[0])
