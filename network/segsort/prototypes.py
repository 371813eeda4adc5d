"""From pixels to prototypes: segments, their mean directions, and their labels.

Source: SegSort (Hwang et al., ICCV 2019), section 3.1; specs/segsort.md, sections 2 and 3.
"""

from typing import NamedTuple

import tensorflow as tf

# Vectors shorter than 1e-12 have no direction.
_SMALLEST_SQUARE = 1e-24


def l2_normalize(x, axis=-1):
  """Scales vectors to unit length in float32; a zero vector stays zero and passes no gradient."""
  @tf.custom_gradient
  def normalize(x):
    square = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    factor = tf.where(square > _SMALLEST_SQUARE, tf.math.rsqrt(square), 0.0)
    unit = x * factor

    def gradient(upstream):
      along = tf.reduce_sum(upstream * unit, axis=axis, keepdims=True)
      return factor * (upstream - along * unit)
    return unit, gradient

  return normalize(tf.cast(x, tf.float32))


def segment_prototypes(embedding, segment_ids, num_segments):
  """Prototypes of segments: the normalised sums of their pixels' embeddings.

  Args:
    embedding: float [M, D]; summed in float32, the gradient flows through.
    segment_ids: int32 [M] in [0, num_segments); pixels with a negative id belong to no segment.
    num_segments: S, static under jit_compile.

  Returns:
    prototypes: float32 [S, D] of unit length, zero for segments without a pixel.
    counts: int32 [S], pixels of each segment.
  """
  sums = tf.math.unsorted_segment_sum(tf.cast(embedding, tf.float32), segment_ids, num_segments)
  counts = tf.math.unsorted_segment_sum(tf.ones_like(segment_ids), segment_ids, num_segments)
  return l2_normalize(sums), counts


def compact(present, size):
  """Packs the marked entries of a table to the front, in their order, with static shapes.

  Args:
    present: bool [S].
    size: length of the packed table, at least the number of marked entries.

  Returns:
    rank: int32 [S], the place of each marked entry in the packed table, -1 for the others.
    index: int32 [size], the entry at each place, 0 where there is none.
    filled: bool [size].
  """
  places = tf.cumsum(tf.cast(present, tf.int32)) - 1
  rank = tf.where(present, places, -1)
  index = tf.math.unsorted_segment_sum(tf.range(tf.size(present)), rank, size)
  filled = tf.range(size) < tf.reduce_sum(tf.cast(present, tf.int32))
  return rank, index, filled


def majority_labels(cluster_ids, labels, num_clusters, num_classes):
  """The most frequent label of each cluster; the lowest of equally frequent ones.

  Args:
    cluster_ids: int32 [N] in [0, num_clusters), negative for pixels that do not count.
    labels: int32 [N]; pixels outside [0, num_classes) do not count.

  Returns:
    int32 [num_clusters], -1 for clusters without a counted pixel.
  """
  counted = (cluster_ids >= 0) & (labels >= 0) & (labels < num_classes)
  keys = tf.where(counted, cluster_ids * num_classes + labels, -1)
  counts = tf.math.unsorted_segment_sum(tf.ones_like(keys), keys, num_clusters * num_classes)
  counts = tf.reshape(counts, [num_clusters, num_classes])
  best = tf.argmax(counts, axis=1, output_type=tf.int32)
  return tf.where(tf.reduce_any(counts > 0, axis=1), best, -1)


class Prototypes(NamedTuple):
  """Labelled prototypes of one image; see `extract_prototypes`."""
  prototypes: tf.Tensor
  labels: tf.Tensor
  counts: tf.Tensor
  clusters: tf.Tensor
  pixels: tf.Tensor


def extract_prototypes(embedding, cluster_ids, labels, *, ignore_label=255, mode='majority'):
  """Labelled prototypes of one image.

  Args:
    embedding: float [N, D] of unit length, pixels in row-major order.
    cluster_ids: int32 [N], negative for pixels that do not count.
    labels: int32 [N], non-negative; pixels with `ignore_label` do not count.
    ignore_label: int.
    mode: 'majority': one prototype a cluster, of its pixels with its most frequent label (the
      lowest of equally frequent ones), as in the original. 'piece': one for each label in each
      cluster, so that a class that never wins a cluster has prototypes too.

  Returns:
    prototypes: float32 [P, D] of unit length, in the order in which their clusters ('majority') or
      pieces ('piece') first appear among the counted pixels; none for an image without any.
    labels: int32 [P].
    counts: int32 [P], pixels that each was made of.
    clusters: int32 [P], the id of the cluster that each is from.
    pixels: int32 [N], the prototype that each pixel is part of, -1 for none.

  Raises:
    ValueError: `mode` is neither of the two.
  """
  if mode not in ('majority', 'piece'):
    raise ValueError(f"mode is {mode!r}; it must be 'majority' or 'piece'")
  counted = (labels != ignore_label) & (cluster_ids >= 0)
  places = tf.cast(tf.where(counted)[:, 0], tf.int32)
  cluster_ids = tf.gather(cluster_ids, places)
  labels = tf.gather(labels, places)
  num_classes = tf.reduce_max(tf.concat([labels, [0]], axis=0)) + 1
  clusters, members = tf.unique(cluster_ids)
  if mode == 'majority':
    winners = majority_labels(members, labels, tf.size(clusters), num_classes)
    members = tf.where(labels == tf.gather(winners, members), members, -1)
  else:
    keys, members = tf.unique(members * num_classes + labels)
    clusters, winners = tf.gather(clusters, keys // num_classes), keys % num_classes
  prototypes, counts = segment_prototypes(
      tf.gather(embedding, places), members, tf.size(clusters))
  pixels = tf.tensor_scatter_nd_update(
      tf.fill(tf.shape(counted), -1), places[:, tf.newaxis], members)
  return Prototypes(prototypes, winners, counts, clusters, pixels)
