"""Spherical k-means of one small image, as one program of XLA for the processor.

An image of a training batch stays in the cache whole, so that nothing is won by leaving pixels out
of the product. What is won: its features are held with pixels last, as the product reads them, and
the sums of the clusters are kept and follow the pixels that change, for adding up a row is as slow
as comparing it with all clusters. `network.segsort.kmeans` is for batches at once and for large
images.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1; specs/segsort.md, section 2.
"""

import tensorflow as tf

from network.segsort.kmeans import NOWHERE, first_greatest
from network.segsort.prototypes import l2_normalize


@tf.function(jit_compile=True, autograph=False)
def small_kmeans(features, labels, num_clusters, iterations, valid):
  """Spherical k-means of one image; see `network.segsort.clustering.spherical_kmeans`.

  Args:
    features: float32 [N, F] of unit length, of a static shape as the others.
    labels: int32 [N]; others than [0, num_clusters) are in no cluster.
    num_clusters, iterations: ints.
    valid: bool [N].

  Returns:
    int32 [N], -1 where not valid.
  """
  columns = tf.transpose(features)
  # The last number counts, exactly: what is left of a sum that all have left is no direction.
  rows = tf.concat([features, tf.ones_like(features[:, :1])], axis=1)

  def sums_of(labels):
    return tf.math.unsorted_segment_sum(rows, labels, num_clusters)

  def step(iteration, labels, sums, _):
    centres = tf.where(sums[:, -1:] > 0.0, l2_normalize(sums[:, :-1]), 0.0)
    exist = tf.reduce_any(centres != 0.0, axis=1, keepdims=True)
    cosines = tf.where(exist, tf.matmul(centres, columns), NOWHERE)
    nearest = tf.where(valid, first_greatest(cosines, 0), -1)
    changed = nearest != labels
    # Rows without a label are passed over.
    joined, left = (sums_of(tf.where(changed, ids, -1)) for ids in (nearest, labels))
    return iteration + 1, nearest, sums + (joined - left), tf.reduce_any(changed)

  labels = tf.where(valid & (labels >= 0) & (labels < num_clusters), labels, -1)
  return tf.while_loop(
      lambda iteration, *state: (iteration < iterations) & state[-1], step,
      [tf.constant(0), labels, sums_of(labels), tf.constant(True)])[1]
