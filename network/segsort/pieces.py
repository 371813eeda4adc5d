"""Pieces of a batch: pixels of one image, one cluster and one class, or of one segment.

They are what the losses compare pixels with. All shapes are static, whatever the batch holds.
Source: SegSort (Hwang et al., ICCV 2019), section 3; specs/segsort.md, section 2.
"""

from typing import NamedTuple

import tensorflow as tf

from network.segsort.compilation import compiled_where_static
from network.segsort.prototypes import compact, l2_normalize, segment_prototypes
from network.segsort.segments import find_segments
from network.segsort.shapes import dims, per_image

# For those who call XLA anyway, for k-means: its compiler takes 80 MB when it is first called.
_compiled_prototypes = compiled_where_static(segment_prototypes)


class Pieces(NamedTuple):
  """Pixels of a batch, the pieces that they belong to, and the pieces' prototypes.

  embedding: float32 [M, D] of unit length, all pixels of the batch.
  own_index: int32 [M], the piece of each pixel, -1 for pixels that do not count.
  prototypes: float32 [P, D] of unit length.
  labels: int32 [P].
  valid: bool [P].
  clusters: int32 [B, H, W], the cluster or segment of each pixel in its image, -1 for pixels that
    do not count.
  """
  embedding: tf.Tensor
  own_index: tf.Tensor
  prototypes: tf.Tensor
  labels: tf.Tensor
  valid: tf.Tensor
  clusters: tf.Tensor


def supervised_pieces(embedding, labels, initial_clusters, location, *, num_clusters, num_classes,
                      iterations, ignore_label=255, location_weight=1.0, regions=None,
                      min_piece_share=0.0):
  """Clusters a batch of embedding maps and cuts the clusters along the classes.

  Args:
    embedding: float [B, H, W, D], not yet normalised.
    labels: int32 [B, H, W]; pixels with `ignore_label` or outside [0, num_classes) do not count and
      are not clustered.
    initial_clusters: int32 [B, H, W]; others than [0, num_clusters) start in no cluster.
    location: float [B, H, W, 2], place in the original image, in [0, 1).
    num_clusters, num_classes, iterations: static ints.
    ignore_label: int.
    location_weight: see `network.segsort.clustering.clustering_features`.
    regions, min_piece_share: along what clusters are split, see
      `network.segsort.segments.find_segments`.

  Returns:
    `Pieces`, one for each (image, cluster, class) that occurs.
  """
  unit = l2_normalize(embedding)
  labels = tf.cast(labels, tf.int32)
  counted = (labels != ignore_label) & (labels >= 0) & (labels < num_classes)
  clusters = find_segments(
      unit, location, tf.convert_to_tensor(initial_clusters), counted, num_clusters, iterations,
      location_weight=location_weight, regions=regions, min_piece_share=min_piece_share)
  flat = per_image(clusters)
  if regions is not None:
    num_clusters = dims(flat)[1]  # no image has more segments than pixels
  ids = piece_ids(flat, per_image(labels), num_clusters, num_classes, ignore_label)
  return _pieces(unit, ids, clusters, _compiled_prototypes)


def unsupervised_pieces(embedding, oversegmentation, *, num_ids=256):
  """The segments of an oversegmentation as pieces.

  Args:
    embedding: float [B, H, W, D], not yet normalised.
    oversegmentation: int32 [B, H, W]; pixels with an id outside [0, num_ids) do not count (padding
      is -1).
    num_ids: static int, a bound of the ids; 256 as in the original's 8-bit files.

  Returns:
    `Pieces`, one for each (image, id) that occurs; its label is its own number.

  Deviates from the original: padding does not count, where it is a segment of its own there.
  """
  ids = segment_ids(per_image(oversegmentation), num_ids)
  clusters = tf.where(tf.reshape(ids.ids, tf.shape(oversegmentation)) < 0, -1, oversegmentation)
  return _pieces(l2_normalize(embedding), ids, clusters)


def _pieces(unit, ids, clusters, prototypes_of=segment_prototypes):
  unit = tf.reshape(unit, [-1, unit.shape[-1]])
  prototypes, _ = prototypes_of(unit, ids.ids, dims(ids.valid)[0])
  return Pieces(unit, ids.ids, prototypes, ids.labels, ids.valid, clusters)


class PieceIds(NamedTuple):
  """Compact numbers of (image, cluster, class) pieces; see `piece_ids`."""
  ids: tf.Tensor
  labels: tf.Tensor
  valid: tf.Tensor


def piece_ids(cluster_ids, labels, num_clusters, num_classes, ignore_label=255):
  """Numbers the pieces of a batch: pixels of one image, one cluster and one class.

  Args:
    cluster_ids: int32 [B, N] in [0, num_clusters), negative for pixels that do not count.
    labels: int32 [B, N]; pixels with `ignore_label` or outside [0, num_classes) do not count.
    num_clusters, num_classes: static ints.
    ignore_label: int.

  Returns:
    ids: int32 [B * N], the pixel's piece, -1 where it does not count. Pieces are numbered from 0 by
      image, cluster and class.
    labels: int32 [P], the class of each piece, where P = min(B * N, B * num_clusters * num_classes)
      bounds the number of pieces whatever the batch.
    valid: bool [P], True for the pieces that exist; they come first.
  """
  batch, pixels = dims(labels)
  table = num_clusters * num_classes
  counted = ((labels != ignore_label) & (labels >= 0) & (labels < num_classes)
             & (cluster_ids >= 0) & (cluster_ids < num_clusters))
  image = tf.range(batch)[:, tf.newaxis]
  keys = tf.where(counted, image * table + cluster_ids * num_classes + labels, -1)
  ids, keys, valid = _compact_keys(tf.reshape(keys, [-1]), batch * table, batch * pixels)
  return PieceIds(ids, keys % num_classes, valid)


def _compact_keys(keys, num_keys, num_pixels):
  """Numbers the keys that occur: ids [M] (-1 for negative keys), the key of each id, filled."""
  counts = tf.math.unsorted_segment_sum(tf.ones_like(keys), keys, num_keys)
  static = isinstance(num_keys, int) and isinstance(num_pixels, int)
  size = min(num_keys, num_pixels) if static else tf.minimum(num_keys, num_pixels)
  rank, index, filled = compact(counts > 0, size)
  ids = tf.where(keys >= 0, tf.gather(rank, tf.maximum(keys, 0)), -1)
  return ids, index, filled


def segment_ids(oversegmentation, num_ids):
  """Numbers the segments of a batch: pixels of one image with one id of an oversegmentation.

  Args:
    oversegmentation: int32 [B, N]; pixels with an id outside [0, num_ids) do not count (padding is
      -1).
    num_ids: static int, a bound of the ids.

  Returns:
    `PieceIds` whose labels are the segments' own numbers, P = min(B * N, B * num_ids).
  """
  batch, pixels = dims(oversegmentation)
  counted = (oversegmentation >= 0) & (oversegmentation < num_ids)
  keys = tf.where(counted, tf.range(batch)[:, tf.newaxis] * num_ids + oversegmentation, -1)
  ids, _, valid = _compact_keys(tf.reshape(keys, [-1]), batch * num_ids, batch * pixels)
  return PieceIds(ids, tf.range(tf.size(valid)), valid)
