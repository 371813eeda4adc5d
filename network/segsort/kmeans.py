"""Two ways to do spherical k-means, with the same result.

`dense_kmeans` goes through a batch at once, with static shapes. `chunked_kmeans` goes through an
image of any size in chunks of one size, each by one small compiled program: a chunk's cosines stay
in the processor's cache, and its share of the next centres is summed while it is there.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1; specs/segsort.md, section 2.
"""

import tensorflow as tf

from network.segsort.prototypes import l2_normalize

# Pixels that are compared together.
CHUNK = 8192
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
    empty = tf.reduce_all(tf.equal(centres, 0.0), axis=-1)[:, tf.newaxis, :]
    cosines = tf.matmul(features, centres, transpose_b=True)
    nearest = tf.argmax(
        tf.where(empty, -float('inf'), cosines), axis=-1, output_type=tf.int32)
    nearest = tf.ensure_shape(tf.where(valid, nearest, -1), labels.shape)
    return iteration + 1, nearest, tf.reduce_any(nearest != labels)

  labels = tf.where(valid & (labels >= 0) & (labels < num_clusters), labels, -1)
  return tf.while_loop(
      lambda iteration, _, changed: (iteration < iterations) & changed,
      step, [tf.constant(0), labels, tf.constant(True)])[1]


compiled_kmeans = tf.function(dense_kmeans, jit_compile=True, autograph=False)


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
  """
  size = tf.shape(labels)[0]
  labels = tf.where(valid & (labels >= 0) & (labels < num_clusters), labels, -1)
  if not isinstance(num_clusters, int):
    num_clusters = -(-num_clusters // _CLUSTERS_STEP) * _CLUSTERS_STEP
  # At least one chunk; its last pixels may be nobody's.
  fill = [[0, tf.maximum(CHUNK - size, 0)]]
  features, valid = tf.pad(features, [*fill, [0, 0]]), tf.pad(valid, fill)
  labels = tf.pad(labels, fill, constant_values=-1)

  def step(iteration, labels, sums, _):
    centres = l2_normalize(sums)
    exist = tf.reduce_any(centres != 0.0, axis=1)
    new, sums = _over_chunks(
        lambda *chunk: _assign(*chunk, centres, exist), features, valid, nothing)
    return iteration + 1, new, sums, tf.reduce_any(new != labels)

  nothing = tf.zeros([num_clusters, tf.shape(features)[1]])
  sums = _over_chunks(lambda *chunk: _sum(*chunk, nothing), features, labels, nothing)[1]
  done, labels, _, _ = tf.while_loop(
      lambda iteration, *state: (iteration < iterations) & state[-1], step,
      [tf.constant(0), labels, sums, tf.constant(True)],
      [tf.TensorShape([]), tf.TensorShape([None]), nothing.shape,
       tf.TensorShape([])])
  return labels[:size], done


def _over_chunks(function, features, values, nothing):
  """Calls a function for `CHUNK` pixels at a time, with one size for all chunks.

  Args:
    function: (features [CHUNK, F], values [CHUNK], bool [CHUNK] which pixels count) -> labels int32
      [CHUNK], sums float32 [K, F] of the pixels that count.
    features: float32 [N, F], N at least CHUNK.
    values: [N].
    nothing: zeros [K, F].

  Returns:
    labels int32 [N], and the sum of the sums.
  """
  size = tf.shape(values)[0]
  count = -(-size // CHUNK)

  def step(index, labels, sums):
    # The last chunk begins early, within the one before.
    begin = tf.minimum(index * CHUNK, size - CHUNK)
    counts = begin + tf.range(CHUNK) >= index * CHUNK
    rows, of_rows = (
        tf.ensure_shape(x[begin:begin + CHUNK], [CHUNK, *x.shape[1:]]) for x in (features, values))
    found, more = function(rows, of_rows, counts)
    return index + 1, labels.write(index, found), sums + more

  # Chunks may run side by side; sums are added in their order.
  _, labels, sums = tf.while_loop(
      lambda index, *_: index < count, step,
      [tf.constant(0), tf.TensorArray(tf.int32, count, element_shape=[CHUNK]),
       nothing], parallel_iterations=4)
  labels = labels.stack()
  whole = tf.reshape(labels[:-1], [-1])
  return tf.concat([whole, labels[-1, count * CHUNK - size:]], axis=0), sums


@tf.function(jit_compile=True, autograph=False)
def _assign(features, valid, counts, centres, exist):
  """The nearest of the centres that exist, -1 where not valid, and the sums of what counts."""
  cosines = tf.where(exist, tf.matmul(features, centres, transpose_b=True), -float('inf'))
  labels = tf.where(valid, tf.argmax(cosines, axis=-1, output_type=tf.int32), -1)
  return _sum(features, labels, counts, centres)


@tf.function(jit_compile=True, autograph=False)
def _sum(features, labels, counts, like):
  """The labels, and the sums of the features of each label's pixels, of the shape of `like`."""
  ids = tf.where(counts, labels, -1)
  return labels, tf.math.unsorted_segment_sum(features, ids, tf.shape(like)[0])
